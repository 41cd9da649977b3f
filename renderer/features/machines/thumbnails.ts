import type { MachineInfo } from "../../../core/contract/model";
import { isLive, refusal } from "../../../core/contract/states";
import { call } from "../../api/client";

/** A machine's screen, small. `null` when it has never shown anything. */
export type ThumbnailListener = (picture: ImageBitmap | null) => void;

interface Watched {
  readonly listeners: Set<ThumbnailListener>;
  picture: ImageBitmap | null;
  revision: string | undefined;
  /** What the picture was asked for: a machine that lies still is asked once per state. */
  askedFor: string | undefined;
  askedAt: number;
}

/** How often a running machine's picture is renewed, and how far apart two requests are. Milliseconds. */
const renewEvery = 2_000;
const pace = 250;
/** Device pixels across a picture: 58 CSS pixels on a screen of twice the density. */
export const pictureWidth = 116;
/** A text screen is shown larger than the glass: its upper left stays readable. Wider guests show pictures, and those whole. */
const textWidth = 190;
const widestTextScreen = 720;

/**
 * Small pictures of the machines that are in view. One request at a time and none while the window is hidden: two
 * hundred machines cost as much as the ten that can be seen.
 */
export class ThumbnailFeed {
  private readonly watched = new Map<string, Watched>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking = false;

  constructor(private readonly machineOf: (id: string) => MachineInfo | undefined) {}

  /** Listens to a machine's picture while it is in view; the returned function ends it. */
  watch(id: string, listener: ThumbnailListener): () => void {
    const entry = this.watched.get(id) ?? { listeners: new Set(), picture: null, revision: undefined, askedFor: undefined, askedAt: 0 };
    this.watched.set(id, entry);
    entry.listeners.add(listener);
    if (entry.picture) listener(entry.picture);
    this.schedule(0);
    return () => {
      entry.listeners.delete(listener);
    };
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const entry of this.watched.values()) entry.picture?.close();
    this.watched.clear();
  }

  private schedule(delay: number): void {
    if (this.timer !== undefined || this.asking) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.askNext();
    }, delay);
  }

  private async askNext(): Promise<void> {
    const now = performance.now();
    const due = document.hidden ? undefined : this.mostOverdue(now);
    if (due) {
      const [id, entry, asksFor] = due;
      this.asking = true;
      entry.askedFor = asksFor;
      entry.askedAt = now;
      await this.ask(id, entry);
      this.asking = false;
    }
    if ([...this.watched.values()].some((entry) => entry.listeners.size > 0)) this.schedule(pace);
  }

  private mostOverdue(now: number): [string, Watched, string] | undefined {
    let found: [string, Watched, string] | undefined;
    for (const [id, entry] of this.watched) {
      const machine = this.machineOf(id);
      if (!machine || entry.listeners.size === 0 || refusal("screenshot", machine) !== undefined) continue;
      const asksFor = `${machine.state} ${machine.since}`;
      const wanted = entry.askedFor !== asksFor || (isLive(machine.state) && now - entry.askedAt >= renewEvery);
      if (wanted && (!found || entry.askedAt < found[1].askedAt)) found = [id, entry, asksFor];
    }
    return found;
  }

  private async ask(id: string, entry: Watched): Promise<void> {
    try {
      const answer = await call("machine.screenshot", { id, unless: entry.revision });
      if (answer.revision === entry.revision) return;
      const picture = answer.png === null ? null : await shrink(answer.png);
      entry.picture?.close();
      entry.picture = picture;
      entry.revision = answer.revision;
      for (const listener of entry.listeners) listener(picture);
    } catch (error) {
      // A machine may end between the question and the answer; the list tells its state, so the picture just stays.
      console.debug(`no picture of machine ${id}:`, error);
    }
  }
}

/** Decodes and scales beside the main thread. */
function shrink(base64: string): Promise<ImageBitmap> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  // PNG specification 11.2.1: the width is the first field of the header chunk.
  const width = bytes.length >= 24 ? new DataView(bytes.buffer).getUint32(16) : 0;
  const resizeWidth = width <= widestTextScreen ? textWidth : pictureWidth;
  return createImageBitmap(new Blob([bytes], { type: "image/png" }), { resizeWidth, resizeQuality: "medium" });
}
