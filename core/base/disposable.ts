/** Something that holds a resource (a socket, a timer, a subscription) until it is disposed. Disposing twice does nothing. */
export interface Disposable {
  dispose(): void;
}

/** A disposable that runs `release` once. */
export function toDisposable(release: () => void): Disposable {
  let released = false;
  return {
    dispose() {
      if (released) return;
      released = true;
      release();
    },
  };
}

/** Owns disposables and releases them in reverse order. What is added after disposal is released at once. */
export class DisposableStore implements Disposable {
  private readonly items: Disposable[] = [];
  private released = false;

  get isDisposed(): boolean {
    return this.released;
  }

  add<T extends Disposable>(item: T): T {
    if (this.released) item.dispose();
    else this.items.push(item);
    return item;
  }

  dispose(): void {
    if (this.released) return;
    this.released = true;
    const failures: unknown[] = [];
    for (const item of this.items.splice(0).reverse()) {
      try {
        item.dispose();
      } catch (failure) {
        failures.push(failure);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "some disposables failed to release");
  }
}
