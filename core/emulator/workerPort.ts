import type { MessagePort } from "node:worker_threads";
import type { FromWorker, ToWorker } from "./messages";

/** The worker's side of the line to the main thread. */
export interface WorkerPort {
  send(message: FromWorker, transfer?: readonly ArrayBuffer[]): void;
  onMessage(listener: (message: ToWorker) => void): void;
}

export function toWorkerPort(port: MessagePort): WorkerPort {
  return {
    send: (message, transfer) => port.postMessage(message, transfer as ArrayBuffer[] | undefined),
    onMessage: (listener) => port.on("message", listener),
  };
}
