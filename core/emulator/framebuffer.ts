import { Emitter, type Event } from "../base/emitter";
import type { Disposable } from "../base/disposable";

/**
 * The picture of a guest's screen, shared by the thread that runs the emulator (which draws) and the machine process
 * (which serves it over RFB and takes screenshots).
 *
 * A pixel is one 32-bit word; its bytes in memory are red, green, blue and one that says nothing. Rows follow each other
 * without padding. Pixels are read while they may be drawn over: what is drawn during a read is announced afterwards, so
 * every reader ends with the right picture.
 */
export interface Frame {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** `width * height` words. */
  readonly words: Uint32Array;
}

/** Pixels, from the upper left corner. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Red, green and blue of a word: what two pixels must differ in to differ. */
export const colourMask = 0x00ffffff;

/** The widest and highest picture taken from a guest, pixels; v86's graphics card ends at 2560 x 1600. */
export const maximumSide = 4096;

/** The size of the screen before the guest has chosen one: 80 columns and 25 rows of VGA text. */
export const initialSize = { width: 720, height: 400 } as const;

/** What the emulator's thread says about the screen. */
export type ScreenMessage =
  | {
      /** A new size or another memory: everything is to be read again. */
      readonly type: "screen-size";
      readonly width: number;
      readonly height: number;
      /** `width * height * 4` bytes, see `Frame`. */
      readonly pixels: SharedArrayBuffer;
      /** The guest is in a text mode, where it draws no pointer of its own. */
      readonly text: boolean;
    }
  | {
      /** What was drawn since the last message: x, y, width and height of each rectangle, in pixels, one after another. */
      readonly type: "screen-update";
      readonly rectangles: Uint16Array;
    };

export type DisplayChange = { readonly type: "size" } | { readonly type: "update"; readonly rectangles: readonly Rectangle[] };

/** The screen as the machine process sees it. */
export class Display implements Disposable {
  private current: Frame = {
    ...initialSize,
    words: new Uint32Array(initialSize.width * initialSize.height),
  };
  private isText = true;
  private guestPointer = false;
  private readonly change = new Emitter<DisplayChange>();
  private readonly pointerChange = new Emitter<boolean>();

  /** The picture changed. */
  readonly onDidChange: Event<DisplayChange> = this.change.event;
  /** Whether a viewer has to draw a pointer changed; the value is `needsPointer`. */
  readonly onDidChangePointer: Event<boolean> = this.pointerChange.event;

  /** The picture now. It stays readable, though no longer true, after a change of size. */
  get frame(): Frame {
    return this.current;
  }

  get width(): number {
    return this.current.width;
  }

  get height(): number {
    return this.current.height;
  }

  /** Red, green, blue and a byte without a meaning for each pixel; a view, not a copy. */
  get pixels(): Uint8Array {
    const { words } = this.current;
    return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  }

  /** True where nothing in the picture shows where the pointer is, so that a viewer has to. */
  get needsPointer(): boolean {
    return this.isText || !this.guestPointer;
  }

  /** Says whether the guest follows the pointer, which means that it draws it itself in graphics modes. */
  setGuestPointer(follows: boolean): void {
    this.update(() => {
      this.guestPointer = follows;
    });
  }

  /** Takes in what the emulator's thread says. */
  apply(message: ScreenMessage): void {
    if (message.type === "screen-size") {
      const { width, height, pixels, text } = message;
      this.current = { width, height, words: new Uint32Array(pixels, 0, width * height) };
      this.update(() => {
        this.isText = text;
      });
      this.change.fire({ type: "size" });
      return;
    }
    const rectangles: Rectangle[] = [];
    const { rectangles: numbers } = message;
    for (let i = 0; i + 3 < numbers.length; i += 4) {
      const [x = 0, y = 0, width = 0, height = 0] = numbers.subarray(i, i + 4);
      const inside = intersect({ x, y, width, height }, { x: 0, y: 0, width: this.width, height: this.height });
      if (inside) rectangles.push(inside);
    }
    if (rectangles.length > 0) this.change.fire({ type: "update", rectangles });
  }

  dispose(): void {
    this.change.dispose();
    this.pointerChange.dispose();
  }

  private update(apply: () => void): void {
    const before = this.needsPointer;
    apply();
    if (this.needsPointer !== before) this.pointerChange.fire(this.needsPointer);
  }
}

/** What both rectangles cover, or undefined when they share no pixel. */
export function intersect(a: Rectangle, b: Rectangle): Rectangle | undefined {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  const width = Math.min(a.x + a.width, b.x + b.width) - x;
  const height = Math.min(a.y + a.height, b.y + b.height) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : undefined;
}
