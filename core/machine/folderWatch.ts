import { watch, type FSWatcher } from "node:fs";
import { basename } from "node:path";
import type { Clock } from "../base/clock";
import { DisposableStore, toDisposable, type Disposable } from "../base/disposable";
import type { Log } from "../base/log";

/** An editor writes a file in several steps; it is looked at when they are over. Milliseconds. */
const settleMs = 150;

/** Tells when somebody edits the configuration of a machine by hand. */
export class FolderWatch implements Disposable {
  private readonly watched = new Map<string, { readonly folder: string; readonly store: DisposableStore }>();

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly onDidEdit: (id: string) => void,
  ) {}

  /** Watches the machine's folder from now on, in the place of the one it had. */
  follow(id: string, folder: string): void {
    if (this.watched.get(id)?.folder === folder) return;
    this.forget(id);
    const store = new DisposableStore();
    let settling: Disposable | undefined;
    let watcher: FSWatcher;
    try {
      watcher = watch(folder, { persistent: false }, (_, name) => {
        if (name !== "machine.json") return;
        settling?.dispose();
        settling = this.clock.schedule(settleMs, () => this.onDidEdit(id));
      });
    } catch (error) {
      // The system has no more watches to give, or the folder is gone: edits are seen at the next start, as without us.
      this.log.warn(`${basename(folder)} is not watched for edits: ${(error as Error).message}`);
      return;
    }
    watcher.on("error", (error) => {
      this.log.info(`${basename(folder)} is not watched for edits any more: ${error.message}`);
      this.forget(id);
    });
    store.add(toDisposable(() => watcher.close()));
    store.add(toDisposable(() => settling?.dispose()));
    this.watched.set(id, { folder, store });
  }

  forget(id: string): void {
    this.watched.get(id)?.store.dispose();
    this.watched.delete(id);
  }

  dispose(): void {
    for (const id of [...this.watched.keys()]) this.forget(id);
  }
}
