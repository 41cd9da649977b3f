import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import { readLogEnd } from "./logEnd";

/** A machine's logs in its folder: its own of events, and what its engine and its first serial port have said. */
export class MachineLog {
  private writing: Promise<void> = Promise.resolve();

  /** @param name of the machine, for the host service's log. */
  constructor(
    private readonly folder: () => string,
    private readonly name: () => string,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** A line in the log of events. */
  event(what: string): void {
    const line = `${new Date(this.clock.now()).toISOString()} ${what}\n`;
    const folder = join(this.folder(), "logs");
    this.writing = this.writing
      .then(() => mkdir(folder, { recursive: true, mode: 0o700 }))
      .then(() => appendFile(join(folder, "events.log"), line, { mode: 0o600 }))
      .catch((error: unknown) => this.log.warn(`the events of ${this.name()} cannot be logged: ${String(error)}`));
  }

  /** The end of one of the logs, with everything that has been said so far. */
  async read(log: "engine" | "serial0" | "events", maxBytes: number): Promise<{ text: string; truncated: boolean }> {
    await this.writing;
    return readLogEnd(join(this.folder(), "logs", `${log}.log`), maxBytes);
  }

  /** Resolves when nothing is left to be written. */
  async settled(): Promise<void> {
    await this.writing;
  }
}
