/** Short messages at the edge of the window. Anything may show one; `app/` draws them. */
export interface Toast {
  readonly id: number;
  readonly level: "info" | "success" | "warning" | "error";
  readonly message: string;
  /** What it is about, most often a machine by its name. For messages that do not say it themselves. */
  readonly about?: string | undefined;
  readonly remedy?: string | undefined;
  readonly action?: { readonly label: string; readonly run: () => void } | undefined;
  /** Milliseconds until it goes by itself. */
  readonly lifetime: number;
}

type Wanted = Omit<Toast, "id" | "lifetime"> & { readonly lifetime?: number | undefined };

const shownAtOnce = 4;

class Toasts {
  private current: readonly Toast[] = [];
  private readonly listeners = new Set<() => void>();
  private next = 1;

  readonly get = (): readonly Toast[] => this.current;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  show(wanted: Wanted): number {
    const lifetime = wanted.lifetime ?? (wanted.level === "error" ? 30_000 : wanted.action ? 12_000 : 5_000);
    const toast = { ...wanted, id: this.next++, lifetime };
    // The same complaint about the same thing twice is one complaint.
    const others = this.current.filter((other) => other.message !== toast.message || other.about !== toast.about);
    this.change([...others, toast].slice(-shownAtOnce));
    return toast.id;
  }

  /** Shows what failed, with its remedy when the error carries one. */
  showError(error: unknown, about?: string): void {
    const message = error instanceof Error ? error.message : String(error);
    const remedy = error instanceof Error && "remedy" in error && typeof error.remedy === "string" ? error.remedy : undefined;
    this.show({ level: "error", about, message, remedy });
  }

  close(id: number): void {
    this.change(this.current.filter((toast) => toast.id !== id));
  }

  private change(next: readonly Toast[]): void {
    this.current = next;
    for (const listener of [...this.listeners]) listener();
  }
}

export const toasts = new Toasts();

/** Runs what a person asked for `about` a machine or something else; a failure is shown to them. Answers undefined then. */
export async function attempt<T>(action: () => Promise<T>, about?: string): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    toasts.showError(error, about);
    return undefined;
  }
}
