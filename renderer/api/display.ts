import type { Channel } from "./stream";

/** Client messages of RFB: RFC 6143 7.5.2 and 7.5.3. */
const setEncodings = 2;
const updateRequest = { type: 3, incremental: 1, length: 10 };
const rawEncoding = 0;

/**
 * The channel of a display whose machine is on this computer. noVNC asks for compressed pixels first, as suits a network;
 * here the two would compress and unpack them for nothing, so raw ones are asked for.
 *
 * @param perSecond for a display that is only glanced at: at most so many pictures a second. A server sends a picture when it
 * was asked for one, so the requests are held back; they are the only messages that may wait.
 */
export function localDisplay(channel: Channel, perSecond = Infinity): Channel {
  const { send, close } = channel;
  const pause = 1000 / perSecond;
  let lastAsked = -Infinity;
  let timer: ReturnType<typeof setTimeout> | undefined;
  channel.send = (data) => {
    const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    if (bytes[0] === setEncodings) return send(rawFirst(bytes));
    const asks = bytes.length === updateRequest.length && bytes[0] === updateRequest.type && bytes[1] === updateRequest.incremental;
    if (!asks) return send(bytes);
    const request = bytes.slice();
    const ask = (): void => {
      lastAsked = performance.now();
      send(request);
    };
    const wait = lastAsked + pause - performance.now();
    clearTimeout(timer);
    if (wait > 0) timer = setTimeout(ask, wait);
    else ask();
  };
  channel.close = () => {
    clearTimeout(timer);
    close();
  };
  return channel;
}

/** The message with raw as the encoding that is liked best. Anything of another shape is left as it is. */
function rawFirst(message: Uint8Array): Uint8Array {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const head = 4;
  if (message.length < head || message.length !== head + 4 * view.getUint16(2)) return message;
  const encodings: number[] = [];
  for (let at = head; at < message.length; at += 4) encodings.push(view.getInt32(at));
  if (!encodings.includes(rawEncoding)) return message;
  const changed = message.slice();
  const target = new DataView(changed.buffer);
  for (const [index, encoding] of [rawEncoding, ...encodings.filter((each) => each !== rawEncoding)].entries()) target.setInt32(head + 4 * index, encoding);
  return changed;
}
