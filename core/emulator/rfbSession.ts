import type { Duplex } from "node:stream";
import type { Disposable } from "../base/disposable";
import { DisposableStore } from "../base/disposable";
import { intersect, type Display, type Frame, type Rectangle } from "./framebuffer";
import type { InputSink } from "./inputSink";
import type { Keyboard } from "./keyboard";
import { bands, isPixelEncoding, RectangleEncoder, type PixelEncoding } from "./rfbEncodings";
import { boundingBox, Region } from "./rfbRegion";
import {
  colourMapFormat,
  emitColourMap,
  emitExtendedDesktopSize,
  emitFailure,
  emitRectangleHeader,
  emitServerInit,
  emitUpdateHeader,
  encoding,
  maximumMessage,
  parseClientMessage,
  parseVersion,
  serverPixelFormat,
  serverVersion,
  type ClientMessage,
  type PixelFormat,
} from "./rfbProtocol";

/**
 * One RFB client.
 *
 *   version -> security -> init -> messages        (RFC 6143 7.1 to 7.3; 3.3 has no choice of security)
 *
 * What changes on the display is added to `unseen`. A client asks for an update (`wanted`); it gets one as soon as
 * something it asked for is unseen, and it gets one at a time: the next begins when the socket has taken the last one
 * entirely. A client that does not read therefore costs one band of pixels, whatever happens on the screen, and whoever
 * reads fast enough sees a change at once. That is also why the extension ContinuousUpdates is not offered: here the
 * next request is never far, while updates sent ahead would wait in the buffers between us and a slow viewer.
 *
 * Every client shares the screen; the wish to have it alone (ClientInit) is not granted.
 */
export class RfbSession implements Disposable {
  private stage: "version" | "security" | "init" | "messages" = "version";
  private minor: 3 | 7 | 8 = 8;
  private readonly inbox = new Inbox();
  /** Bytes of a clipboard text that are still to be skipped. */
  private skip = 0;

  private readonly encoder = new RectangleEncoder(serverPixelFormat);
  /** The pixel format of the next update; the one on its way keeps its own. */
  private changedFormat: PixelFormat | undefined;
  private pixelEncoding: PixelEncoding = encoding.raw;
  private resizable: "no" | "plain" | "extended" = "no";
  private takesCursor = false;
  private takesExtendedKeys = false;

  /** The size the client believes in. */
  private width = 0;
  private height = 0;
  private readonly unseen = new Region();
  /** The area of the requests that are not answered yet. */
  private wanted: Rectangle | undefined;
  /** Things other than pixels that go into the next update. */
  private readonly announcements = new Set<"extendedKeys" | "size" | "refusedSize" | "cursor">();
  private sending = false;

  private buttons = 0;
  private pointer: { x: number; y: number } | undefined;
  private readonly owned = new DisposableStore();
  private reason: string | undefined;

  constructor(
    private readonly options: {
      readonly stream: Duplex;
      readonly display: Display;
      readonly name: string;
      readonly input: InputSink;
      readonly keyboard: Keyboard;
      /** The session has ended and is disposed; undefined when the client just went. */
      readonly onDidEnd: (reason: string | undefined) => void;
    },
  ) {
    const { stream, display } = options;
    this.owned.add(this.encoder);
    this.owned.add(
      display.onDidChange((change) => {
        if (this.stage !== "messages") return;
        if (change.type === "update" && this.isCurrentSize()) for (const area of change.rectangles) this.unseen.add(area);
        else this.unseen.add(this.whole());
        this.pump();
      }),
    );
    this.owned.add(
      display.onDidChangePointer(() => {
        if (this.takesCursor) this.announcements.add("cursor");
        this.pump();
      }),
    );
    stream.on("data", (bytes: Uint8Array) => this.receive(bytes));
    // A viewer that is closed in the middle of an update is everyday life.
    stream.on("error", () => this.end(undefined));
    stream.on("end", () => this.end(undefined));
    stream.on("close", () => this.end(undefined));
    stream.write(serverVersion);
  }

  /** Bytes that wait for the client to read them. */
  get waitingBytes(): number {
    return this.options.stream.writableLength;
  }

  dispose(): void {
    this.end(undefined);
  }

  private end(reason: string | undefined): void {
    if (this.owned.isDisposed) return;
    this.reason ??= reason;
    this.owned.dispose();
    const { stream, input, keyboard } = this.options;
    keyboard.releaseAll(this);
    if (this.buttons & 7) input.buttons(false, false, false);
    // What was written, like the reason of a refusal, still leaves; a client that does not read cannot hold us up.
    if (this.reason !== undefined && stream.writableLength === 0) stream.end(() => stream.destroy());
    else stream.destroy();
    this.options.onDidEnd(this.reason);
  }

  private receive(bytes: Uint8Array): void {
    const skipped = Math.min(this.skip, bytes.length);
    this.skip -= skipped;
    this.inbox.append(bytes.subarray(skipped));
    for (;;) {
      if (this.owned.isDisposed) return;
      const before = this.inbox.bytes.length;
      if (!this.step()) break;
      // A clipboard text is left out as it comes.
      const rest = Math.min(this.skip, this.inbox.bytes.length);
      this.skip -= rest;
      this.inbox.take(rest);
      if (this.inbox.bytes.length === before) break;
    }
    if (this.inbox.bytes.length > maximumMessage && !this.owned.isDisposed) {
      this.end(`sent ${this.inbox.bytes.length} bytes that are no message`);
    }
  }

  /** Handles what stands first in the inbox; false when more has to arrive. */
  private step(): boolean {
    const { bytes } = this.inbox;
    switch (this.stage) {
      case "version": {
        if (bytes.length < 12) return false;
        const version = parseVersion(bytes);
        if (!version.ok) return this.refuse(version.error);
        this.inbox.take(12);
        this.minor = version.value;
        if (this.minor === 3) {
          // RFC 6143 7.2, version 3.3: the server decides.
          this.write(Uint8Array.of(0, 0, 0, securityNone));
          this.stage = "init";
        } else {
          this.write(Uint8Array.of(1, securityNone));
          this.stage = "security";
        }
        return true;
      }
      case "security": {
        if (bytes.length < 1) return false;
        const chosen = bytes[0] ?? 0;
        this.inbox.take(1);
        if (chosen !== securityNone) {
          const reason = `security type ${chosen} was not offered`;
          if (this.minor === 8) this.write(emitFailure(reason));
          return this.refuse(reason);
        }
        // Version 3.7 says nothing after the type None (RFC 6143 7.1.3).
        if (this.minor === 8) this.write(Uint8Array.of(0, 0, 0, 0));
        this.stage = "init";
        return true;
      }
      case "init": {
        if (bytes.length < 1) return false;
        this.inbox.take(1);
        const { frame } = this.options.display;
        this.setSize(frame);
        this.write(emitServerInit(this.width, this.height, this.options.name));
        this.stage = "messages";
        return true;
      }
      case "messages": {
        const parsed = parseClientMessage(bytes);
        if (!parsed.ok) return this.refuse(parsed.error);
        if (parsed.value === "incomplete") return false;
        this.inbox.take(parsed.value.size);
        this.handle(parsed.value.message);
        return true;
      }
    }
  }

  private refuse(reason: string): false {
    this.end(reason);
    return false;
  }

  private handle(message: ClientMessage): void {
    switch (message.type) {
      case "setPixelFormat":
        this.changedFormat = message.format.trueColour ? message.format : colourMapFormat;
        // An index means nothing without the map; it goes out before the first pixel that needs it.
        if (!message.format.trueColour) this.write(emitColourMap());
        return;
      case "setEncodings":
        this.setEncodings(message.encodings);
        return;
      case "updateRequest": {
        const area = intersect(message.area, this.whole());
        // Nothing of the screen was asked for, maybe because it has become smaller: what else there is to say is still said.
        this.wanted = area && this.wanted ? boundingBox([area, this.wanted]) : (area ?? this.wanted ?? nowhere);
        if (area && !message.incremental) this.unseen.add(area);
        this.pump();
        return;
      }
      case "key":
        this.options.keyboard.keysym(this, message.keysym, message.down);
        return;
      case "extendedKey":
        // Keycode 0: the client has no scancode for the key, only its meaning.
        if (!this.options.keyboard.keycode(this, message.keycode, message.down)) {
          this.options.keyboard.keysym(this, message.keysym, message.down);
        }
        return;
      case "pointer":
        this.movePointer(message);
        return;
      case "cutText":
        this.skip = message.length;
        return;
      case "setDesktopSize":
        if (this.resizable === "extended") this.announcements.add("refusedSize");
        this.pump();
        return;
      case "ignored":
        return;
    }
  }

  private setEncodings(encodings: readonly number[]): void {
    // In the order of the client's preference (RFC 6143 7.5.2); raw is always understood.
    this.pixelEncoding = encodings.find(isPixelEncoding) ?? encoding.raw;
    const has = (number: number): boolean => encodings.includes(number);
    const resizable = has(encoding.extendedDesktopSize) ? "extended" : has(encoding.desktopSize) ? "plain" : "no";
    if (resizable === "extended" && this.resizable !== "extended") this.announcements.add("size");
    this.resizable = resizable;
    if (has(encoding.cursor) && !this.takesCursor) this.announcements.add("cursor");
    this.takesCursor = has(encoding.cursor);
    if (has(encoding.qemuExtendedKey) && !this.takesExtendedKeys) this.announcements.add("extendedKeys");
    this.takesExtendedKeys = has(encoding.qemuExtendedKey);
    this.pump();
  }

  private movePointer(message: { readonly x: number; readonly y: number; readonly buttons: number }): void {
    const { input } = this.options;
    const x = Math.min(message.x, this.width - 1);
    const y = Math.min(message.y, this.height - 1);
    if (this.pointer?.x !== x || this.pointer.y !== y) {
      if (input.wantsRelative?.() && this.pointer) input.relative(x - this.pointer.x, y - this.pointer.y);
      else input.pointer(x, y, this.width, this.height);
      this.pointer = { x, y };
    }
    const changed = message.buttons ^ this.buttons;
    const pressed = message.buttons & changed;
    this.buttons = message.buttons;
    if (changed & 7) input.buttons((this.buttons & 1) !== 0, (this.buttons & 2) !== 0, (this.buttons & 4) !== 0);
    // Buttons 4 and 5 are a step of the wheel each time they are pressed (RFC 6143 7.5.5).
    if (pressed & 8) input.wheel(1);
    if (pressed & 16) input.wheel(-1);
  }

  private whole(): Rectangle {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }

  private setSize(size: { readonly width: number; readonly height: number }): void {
    this.width = size.width;
    this.height = size.height;
    this.unseen.clear();
    this.unseen.add(this.whole());
  }

  private isCurrentSize(): boolean {
    return this.width === this.options.display.width && this.height === this.options.display.height;
  }

  /** Begins an update when one is wanted and there is something to tell. */
  private pump(): void {
    if (this.sending || this.stage !== "messages" || !this.wanted || this.owned.isDisposed) return;
    if (this.changedFormat) this.encoder.setFormat(this.changedFormat);
    this.changedFormat = undefined;
    const { frame } = this.options.display;
    const news: Uint8Array[] = [];
    let areas: Rectangle[] = [];
    if (this.resizable !== "no" && !this.isCurrentSize()) {
      // The new size comes alone: the request was about the old one, and the next will be about the new one.
      this.setSize(frame);
      this.announcements.delete("size");
      news.push(this.sizeRectangle());
    } else {
      areas = this.unseen.take(this.wanted).flatMap(bands);
    }
    news.push(...this.takeAnnouncements());
    if (news.length + areas.length === 0) return;
    this.wanted = undefined;
    this.sending = true;
    this.send(frame, news, areas).then(
      () => {
        this.sending = false;
        this.pump();
      },
      (failure: unknown) => {
        if (failure !== gone) this.end(failure instanceof Error ? failure.message : String(failure));
      },
    );
  }

  private async send(frame: Frame, news: readonly Uint8Array[], areas: readonly Rectangle[]): Promise<void> {
    const source = frame.width === this.width && frame.height === this.height ? frame : fitted(frame, this.width, this.height);
    const how = this.pixelEncoding;
    await this.writeAndWait(Buffer.concat([emitUpdateHeader(news.length + areas.length), ...news]));
    for (const area of areas) await this.writeAndWait(await this.encoder.encode(source, area, how));
  }

  private takeAnnouncements(): Uint8Array[] {
    const result: Uint8Array[] = [];
    for (const what of this.announcements) {
      if (what === "size") result.push(this.sizeRectangle());
      if (what === "refusedSize") result.push(emitExtendedDesktopSize(this.width, this.height, "refused"));
      if (what === "extendedKeys") result.push(emitRectangleHeader(this.whole(), encoding.qemuExtendedKey));
      if (what === "cursor") result.push(this.encoder.cursor(this.options.display.needsPointer));
    }
    this.announcements.clear();
    return result;
  }

  private sizeRectangle(): Uint8Array {
    return this.resizable === "extended"
      ? emitExtendedDesktopSize(this.width, this.height, "server")
      : emitRectangleHeader(this.whole(), encoding.desktopSize);
  }

  private write(bytes: Uint8Array): boolean {
    return this.owned.isDisposed || this.options.stream.write(bytes);
  }

  /** Resolves when the client can take more, rejects when it is gone. */
  private writeAndWait(bytes: Uint8Array): Promise<void> {
    const { stream } = this.options;
    if (this.owned.isDisposed) return Promise.reject(gone);
    if (stream.write(bytes)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        stream.off("drain", settle);
        stream.off("close", settle);
        if (this.owned.isDisposed) reject(gone);
        else resolve();
      };
      stream.on("drain", settle);
      stream.on("close", settle);
    });
  }
}

const gone = new Error("the client is gone");
const securityNone = 1;
const nowhere: Rectangle = { x: 0, y: 0, width: 0, height: 0 };

/** For a client that cannot follow a change of size: the frame cut off, or with black around it. */
function fitted(frame: Frame, width: number, height: number): Frame {
  const words = new Uint32Array(width * height);
  const copied = Math.min(width, frame.width);
  for (let y = 0; y < Math.min(height, frame.height); y++) {
    words.set(frame.words.subarray(y * frame.width, y * frame.width + copied), y * width);
  }
  return { width, height, words };
}

/** What has arrived and is not handled yet. Appending costs its own length, however small the pieces are. */
class Inbox {
  private buffer = new Uint8Array(4096);
  private start = 0;
  private end = 0;

  get bytes(): Uint8Array {
    return this.buffer.subarray(this.start, this.end);
  }

  append(bytes: Uint8Array): void {
    const length = this.end - this.start;
    if (this.end + bytes.length > this.buffer.length) {
      const needed = length + bytes.length;
      const target = needed > this.buffer.length / 2 ? new Uint8Array(needed * 2) : this.buffer;
      target.set(this.bytes);
      this.buffer = target;
      this.start = 0;
      this.end = length;
    }
    this.buffer.set(bytes, this.end);
    this.end += bytes.length;
  }

  take(count: number): void {
    this.start += count;
    if (this.start === this.end) this.start = this.end = 0;
  }
}
