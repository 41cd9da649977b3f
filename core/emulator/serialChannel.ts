import { closeSync, openSync, renameSync, writeSync, fstatSync } from "node:fs";
import type { Socket } from "node:net";
import type { Disposable } from "../base/disposable";
import type { Log } from "../base/log";
import type { ToWorker } from "./messages";
import { OneClient } from "./sockets";

/** Bytes of input the guest has not read yet before the client has to wait. */
const maxInput = 64 * 1024;
/** Bytes of the last output that are kept for a crash report. */
const tailBytes = 8 * 1024;
/** A log that has grown beyond this becomes `<log>.1`, in bytes. */
const maxLogBytes = 16 * 1024 * 1024;

/** One serial port on the main thread's side: its socket, and its log, which has everything whether a client is there or not. */
export class SerialChannel implements Disposable {
  private client: Socket | undefined;
  private inputOutstanding = 0;
  private tail = Buffer.alloc(0);
  private logFile: { fd: number; size: number } | undefined;
  readonly clients = new OneClient((socket) => this.serve(socket));

  constructor(
    private readonly port: 0 | 1,
    private readonly post: (message: ToWorker) => void,
    private readonly log: Log,
    private readonly logPath?: string,
  ) {
    if (logPath !== undefined) this.logFile = openLog(logPath);
  }

  /** The last output, for a crash report. */
  get lastOutput(): Uint8Array {
    return this.tail;
  }

  /** Output of the guest. */
  output(data: Uint8Array): void {
    this.keep(data);
    this.writeLog(data);
    const drained = (): void => this.post({ type: "serialDrained", port: this.port, bytes: data.length });
    if (this.client && !this.client.destroyed) this.client.write(data, drained);
    else drained();
  }

  /** The guest has read `bytes` of its input. */
  taken(bytes: number): void {
    this.inputOutstanding = Math.max(0, this.inputOutstanding - bytes);
    if (this.inputOutstanding < maxInput / 2) this.client?.resume();
  }

  /** A new worker has begun: what the old one had not read is gone with it. */
  reset(): void {
    this.inputOutstanding = 0;
    this.client?.resume();
  }

  dispose(): void {
    if (this.logFile) closeSync(this.logFile.fd);
    this.logFile = undefined;
  }

  private serve(socket: Socket | undefined): void {
    this.client = socket;
    socket?.on("data", (data: Buffer) => {
      this.inputOutstanding += data.length;
      if (this.inputOutstanding > maxInput) socket.pause();
      this.post({ type: "serialInput", port: this.port, data });
    });
  }

  private keep(data: Uint8Array): void {
    const joined = Buffer.concat([this.tail, data]);
    this.tail = joined.subarray(Math.max(0, joined.length - tailBytes));
  }

  private writeLog(data: Uint8Array): void {
    if (!this.logFile || this.logPath === undefined) return;
    try {
      if (this.logFile.size > maxLogBytes) {
        closeSync(this.logFile.fd);
        renameSync(this.logPath, `${this.logPath}.1`);
        this.logFile = openLog(this.logPath);
      }
      this.logFile.size += writeSync(this.logFile.fd, data);
    } catch (error) {
      // A full disk must not stop a guest that writes to its console; its own disks have their own way to say so.
      this.log.error(`the serial log ${this.logPath} cannot be written and ends here`, error);
      this.logFile = undefined;
    }
  }
}

function openLog(path: string): { fd: number; size: number } {
  const fd = openSync(path, "a", 0o600);
  return { fd, size: fstatSync(fd).size };
}
