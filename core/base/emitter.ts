import { toDisposable, type Disposable } from "./disposable";

/** Subscribes to facts of one kind; the returned disposable ends the subscription. */
export type Event<T> = (listener: (value: T) => void) => Disposable;

/** The source of an `onDid…` event. Events state facts; they are never used to ask for something. */
export class Emitter<T> implements Disposable {
  private readonly listeners = new Set<(value: T) => void>();

  /** The subscribing side, safe to hand out. */
  readonly event: Event<T> = (listener) => {
    // A wrapper, so that one function subscribed twice is called and released twice.
    const entry = (value: T): void => listener(value);
    this.listeners.add(entry);
    return toDisposable(() => this.listeners.delete(entry));
  };

  get hasListeners(): boolean {
    return this.listeners.size > 0;
  }

  /** Tells every listener, also when one of them throws; what was thrown is thrown again afterwards. */
  fire(value: T): void {
    const failures: unknown[] = [];
    for (const listener of [...this.listeners]) {
      try {
        listener(value);
      } catch (failure) {
        failures.push(failure);
      }
    }
    if (failures.length > 1) throw new AggregateError(failures, "some listeners failed");
    if (failures.length === 1) throw failures[0];
  }

  dispose(): void {
    this.listeners.clear();
  }
}
