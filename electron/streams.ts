import type { Duplex } from "node:stream";
import type { ErrorData } from "../core/contract/errors";
import { toErrorData } from "../core/contract/errors";
import { Credit, flowWindow, readFlowMessage } from "./flow";

/** What is used of Electron's MessagePortMain. */
export interface MainPort {
  postMessage(message: unknown): void;
  on(event: "message", listener: (event: { data: unknown }) => void): unknown;
  on(event: "close", listener: () => void): unknown;
  start(): void;
  close(): void;
}

/** How long what a closed page has said may take to reach the machine, milliseconds. */
const farewellMs = 5000;

/**
 * Joins a machine's stream to a port that leads to a page, with back-pressure both ways (see flow.ts). Ends with
 * whichever side ends first: a closed window frees the stream, and a stream that ends or fails tells the page.
 */
export function joinPort(port: MainPort, stream: Duplex, farewell = farewellMs): void {
  const outgoing = new Credit();
  let incoming = 0;
  let ended = false;
  let late: ReturnType<typeof setTimeout> | undefined;

  const end = (error?: ErrorData): void => {
    if (ended) return;
    ended = true;
    port.postMessage(error === undefined ? { end: true } : { end: true, error });
    port.close();
    stream.destroy();
  };

  stream.on("data", (chunk: Buffer) => {
    if (ended) return;
    port.postMessage(chunk.buffer.slice(chunk.byteOffset, chunk.byteOffset + chunk.byteLength));
    outgoing.spend(chunk.byteLength);
    if (outgoing.free === 0) stream.pause();
  });
  stream.on("end", () => end());
  stream.on("error", (error) => end(toErrorData(error)));
  stream.on("close", () => end());

  port.on("message", ({ data }) => {
    const message = readFlowMessage(data);
    if (ended || message === undefined) return;
    if (message.kind === "end") {
      // The page is done; what it still said reaches the machine before the stream goes.
      ended = true;
      port.close();
      stream.resume();
      stream.end(() => stream.destroy());
      // A guest that does not read would keep the stream for ever.
      late = setTimeout(() => stream.destroy(), farewell);
      return;
    }
    if (message.kind === "ack") {
      outgoing.giveBack(message.bytes);
      if (outgoing.free > 0 && stream.isPaused()) stream.resume();
      return;
    }
    const size = message.bytes.byteLength;
    incoming += size;
    // The preload script keeps to the window; whoever does not is no page of ours.
    if (incoming > 2 * flowWindow) return end({ code: "invalid-input", message: "The window sent more than it may." });
    stream.write(Buffer.from(message.bytes), () => {
      incoming -= size;
      if (!ended) port.postMessage({ ack: size });
    });
  });
  stream.on("close", () => clearTimeout(late));
  port.on("close", () => {
    // The window is gone, without having said that it was done.
    if (!ended) stream.destroy();
    ended = true;
  });
  port.start();
}
