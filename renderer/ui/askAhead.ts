import type { RawChannel } from "@novnc/novnc";

/*
 * noVNC asks for the next picture when it has drawn the last one. A server that looks at its screen thirty times a second,
 * as QEMU does, then finds nobody asking at every other look and slows down. So the next picture is asked for when one
 * begins to arrive: at most one is drawn and one is on its way.
 */

/** FramebufferUpdateRequest (RFC 6143 7.5.3): type, incremental, and a rectangle of four 16-bit numbers. */
const request = { type: 3, incremental: 1, length: 10 };
/** What follows the type of a FramebufferUpdate: padding and the number of rectangles. */
const headerBytes = 3;

/** What is used of noVNC 1.7.0's connection (core/rfb.js). */
interface Connection {
  _framebufferUpdate(): boolean;
  readonly _FBU: { readonly rects: number };
  readonly _sock: { rQwait(what: string, count: number): boolean };
}

/** Lets a connection of noVNC 1.7.0 ask for each picture when the one before it begins. Call it before the connection opens. */
export function askAhead(connection: object, channel: RawChannel): void {
  const rfb = connection as Partial<Connection>;
  const { _framebufferUpdate: update } = rfb;
  if (typeof update !== "function" || rfb._FBU === undefined || rfb._sock === undefined) throw new Error("this version of noVNC takes pictures in another way");
  const { send } = channel;
  /** noVNC's own last request, which is asked again: it has the size of the screen. */
  let latest: Uint8Array | undefined;
  let askedAhead = false;
  channel.send = (data) => {
    const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    if (bytes.length !== request.length || bytes[0] !== request.type) return send.call(channel, data);
    const isSame = latest !== undefined && bytes.every((byte, at) => byte === latest?.[at]);
    latest = bytes[1] === request.incremental ? bytes.slice() : undefined;
    // Asked already; but a screen that has another size now is another question.
    if (askedAhead && isSame) askedAhead = false;
    else send.call(channel, data);
  };
  rfb._framebufferUpdate = function (this: Connection): boolean {
    const begins = this._FBU.rects === 0 && !this._sock.rQwait("FBU header", headerBytes);
    if (begins && latest !== undefined) {
      askedAhead = true;
      send.call(channel, latest);
    }
    return update.call(this);
  };
}
