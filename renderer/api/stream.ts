import type { TerminalRequest } from "../../core/contract/desktop";
import type { ErrorData } from "../../core/contract/errors";
import type { StreamRequest } from "../../core/contract/procedures";
import { CallError } from "./client";

interface EndMessage {
  readonly end: true;
  readonly error?: ErrorData;
}

/**
 * A stream's message port in the shape of a WebSocket. noVNC looks for these members as own properties, so they are
 * fields and not accessors of a class.
 */
export interface Channel {
  send(data: ArrayBuffer | ArrayBufferView): void;
  close(): void;
  binaryType: string;
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null;
  onclose: ((event: unknown) => void) | null;
  onerror: ((event: unknown) => void) | null;
  protocol: string;
  readyState: string;
  /** Why the stream ended, when it did not end by itself. */
  error: ErrorData | undefined;
}

/** Opens a pipe to a machine's display or serial port. Rejects with a `CallError` when there is none. */
export async function openStream(request: StreamRequest): Promise<Channel> {
  const token = crypto.randomUUID();
  const arrival = awaitPort(token);
  const answer = await window.terrarium.openStream(request, token);
  if ("error" in answer) {
    arrival.cancel();
    throw new CallError(answer.error);
  }
  return channelOf(await arrival.port);
}

/** A login to a guest in a terminal. */
export interface Terminal {
  readonly channel: Channel;
  resize(columns: number, rows: number): void;
}

/** Logs in to a guest by ssh. Rejects with a `CallError` when there is no way. */
export async function openTerminal(request: TerminalRequest): Promise<Terminal> {
  const token = crypto.randomUUID();
  const arrival = awaitPort(token);
  const answer = await window.terrarium.openTerminal(request, token);
  if ("error" in answer) {
    arrival.cancel();
    throw new CallError(answer.error);
  }
  const channel = channelOf(await arrival.port);
  return { channel, resize: (columns, rows) => void window.terrarium.resizeTerminal(token, { columns, rows }) };
}

function awaitPort(token: string): { port: Promise<MessagePort>; cancel(): void } {
  let cancel = (): void => undefined;
  const port = new Promise<MessagePort>((resolve) => {
    const listener = (event: MessageEvent): void => {
      const data: unknown = event.data;
      if (typeof data !== "object" || data === null || !("terrariumStream" in data) || data.terrariumStream !== token) return;
      const [arrived] = event.ports;
      if (!arrived) return;
      cancel();
      resolve(arrived);
    };
    cancel = () => window.removeEventListener("message", listener);
    window.addEventListener("message", listener);
  });
  return { port, cancel };
}

/** Wraps a port that is already open. Bytes that arrive before anyone listens are kept and handed over in order. */
export function channelOf(port: MessagePort): Channel {
  const early: ArrayBuffer[] = [];
  let listener: Channel["onmessage"] = null;
  let handingOver = false;
  let ended = false;

  const handOver = (): void => {
    handingOver = false;
    while (listener && early.length > 0) listener({ data: early.shift()! });
  };

  const finish = (error?: ErrorData): void => {
    if (ended) return;
    ended = true;
    channel.readyState = "closed";
    channel.error = error;
    port.close();
    // Not within close(), as with a WebSocket: noVNC would be told of the end before it waits for it, and complain that it never came.
    queueMicrotask(() => channel.onclose?.({ code: error ? 1006 : 1000, reason: error?.message ?? "", wasClean: error === undefined }));
  };

  const channel: Channel = {
    send(data) {
      if (ended) return;
      // A view may be a window on a buffer that its owner goes on using: its bytes are copied, once.
      const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer : data.slice(0);
      port.postMessage(bytes, [bytes]);
    },
    close() {
      if (ended) return;
      port.postMessage({ end: true });
      finish();
    },
    binaryType: "arraybuffer",
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    protocol: "",
    readyState: "open",
    error: undefined,
  };
  Object.defineProperty(channel, "onmessage", {
    enumerable: true,
    get: () => listener,
    set: (next: Channel["onmessage"]) => {
      listener = next;
      if (!next || early.length === 0 || handingOver) return;
      // Not at once: noVNC sets this in the middle of its constructor and is not ready for bytes there.
      handingOver = true;
      queueMicrotask(handOver);
    },
  });

  const receive = (data: ArrayBuffer): void => {
    if (listener && early.length === 0) listener({ data });
    else early.push(data);
  };
  port.onmessage = (event: MessageEvent<unknown>) => {
    const data = event.data;
    if (data instanceof ArrayBuffer) receive(data);
    else if (ArrayBuffer.isView(data)) receive(new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer);
    else if (isEnd(data)) finish(data.error);
  };
  return channel;
}

function isEnd(data: unknown): data is EndMessage {
  return typeof data === "object" && data !== null && "end" in data;
}
