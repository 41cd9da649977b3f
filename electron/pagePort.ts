import { Credit, readFlowMessage } from "./flow";

/** Largest piece of one message towards main, so that a paste of any length keeps to the window. */
const maxPiece = 64 << 10;

/**
 * Makes the port a page gets out of the one main sent: the page's port carries plain bytes, and this keeps to the
 * window in the page's stead. It runs on the page's own thread, so a page that is too busy to read is not sent to.
 */
export function pagePortFor(mainPort: MessagePort): MessagePort {
  const { port1: inner, port2: forPage } = new MessageChannel();
  const credit = new Credit();
  const waiting: ArrayBuffer[] = [];
  let closing = false;

  const flush = (): void => {
    while (waiting.length > 0 && credit.free >= maxPiece) {
      const bytes = waiting.shift()!;
      credit.spend(bytes.byteLength);
      // Not transferred: Electron's main process drops a message with a transferred buffer.
      mainPort.postMessage(bytes);
    }
    if (closing && waiting.length === 0) {
      mainPort.postMessage({ end: true });
      mainPort.close();
      inner.close();
    }
  };

  inner.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) {
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      for (let from = 0; from < bytes.length; from += maxPiece) waiting.push(bytes.slice(from, from + maxPiece).buffer);
    } else if (readFlowMessage(data)?.kind === "end") closing = true;
    flush();
  };
  mainPort.onmessage = ({ data }: MessageEvent<unknown>) => {
    const message = readFlowMessage(data);
    if (message === undefined) return;
    if (message.kind === "ack") {
      credit.giveBack(message.bytes);
      flush();
    } else if (message.kind === "data") {
      const size = message.bytes.byteLength;
      inner.postMessage(message.bytes, [message.bytes]);
      mainPort.postMessage({ ack: size });
    } else {
      inner.postMessage(message.error === undefined ? { end: true } : { end: true, error: message.error });
      inner.close();
      mainPort.close();
    }
  };
  return forPage;
}
