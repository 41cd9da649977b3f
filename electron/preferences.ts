import * as z from "zod";
import { systemClock, type Clock } from "../core/base/clock";
import { type Disposable, toDisposable } from "../core/base/disposable";
import { Emitter } from "../core/base/emitter";
import type { Log } from "../core/base/log";
import { Preferences } from "../core/contract/desktop";

/** Where a window was, in the coordinates of all displays together. */
export const WindowPlace = z.object({ x: z.number().int(), y: z.number().int(), width: z.number().int().positive(), height: z.number().int().positive(), maximized: z.boolean() });
export type WindowPlace = z.infer<typeof WindowPlace>;

/** What is kept of the interface: preferences and window places. Machines never are. */
const Kept = z.object({ preferences: Preferences.catch(Preferences.parse({})), places: z.record(z.string(), WindowPlace).catch({}) });
type Kept = z.infer<typeof Kept>;

/** What is used of electron-store. */
interface KeptFile {
  store: Record<string, unknown>;
}

/** Writing is put off by this long, so that dragging a window or a slider writes once. */
const writeDelayMs = 400;

/** The places of this many windows are remembered; the least recently moved is forgotten first. */
const maxPlaces = 200;

/** Preferences and window places, in memory, and written to the user data folder a moment after they changed. */
export class PreferenceStore implements Disposable {
  private readonly kept: Kept;
  private readonly changed = new Emitter<Preferences>();
  private pending: Disposable | undefined;
  readonly onDidChange = this.changed.event;

  constructor(
    private readonly file: KeptFile,
    private readonly log: Log,
    private readonly clock: Clock = systemClock(),
  ) {
    this.kept = Kept.parse(file.store);
  }

  /** To be called when the app is ready. */
  static async open(folder: string, log: Log): Promise<PreferenceStore> {
    // Loaded only now: it listens for signals from its first line on, and a listener that is older than Electron's own
    // keeps every later one from hearing them.
    const { default: Store } = await import("electron-store");
    // A file that was damaged is replaced: it holds nothing that cannot be chosen again.
    return new PreferenceStore(new Store<Record<string, unknown>>({ cwd: folder, name: "preferences", clearInvalidConfig: true }), log);
  }

  get preferences(): Preferences {
    return this.kept.preferences;
  }

  set(patch: Partial<Preferences>): Preferences {
    this.kept.preferences = Preferences.parse({ ...this.kept.preferences, ...patch });
    this.writeSoon();
    this.changed.fire(this.kept.preferences);
    return this.kept.preferences;
  }

  place(window: string): WindowPlace | undefined {
    return this.kept.places[window];
  }

  remember(window: string, place: WindowPlace): void {
    const { [window]: _before, ...others } = this.kept.places;
    this.kept.places = Object.fromEntries([...Object.entries(others), [window, place]].slice(-maxPlaces)) as Kept["places"];
    this.writeSoon();
  }

  /** Writes what is still to be written. */
  dispose(): void {
    if (this.pending) this.write();
    this.changed.dispose();
  }

  private writeSoon(): void {
    this.pending?.dispose();
    const timer = this.clock.schedule(writeDelayMs, () => this.write());
    this.pending = toDisposable(() => timer.dispose());
  }

  private write(): void {
    this.pending?.dispose();
    this.pending = undefined;
    try {
      this.file.store = this.kept;
    } catch (error) {
      // A full or read-only disk: the session goes on with what is in memory.
      this.log.error("The preferences could not be written.", error);
    }
  }
}
