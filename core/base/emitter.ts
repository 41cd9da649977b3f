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

  fire(value: T): void {
    for (const listener of [...this.listeners]) listener(value);
  }

  dispose(): void {
    this.listeners.clear();
  }
}
