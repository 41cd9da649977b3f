import { createWriteStream } from "node:fs";
import { mkdir, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { createLog, type Log } from "../core/base/log";

/** The log is set aside (once) when it is larger than this. */
const maxBytes = 1 << 20;

/**
 * A log that goes to a file, and to standard error as well when a person started the app from a terminal. Lines that
 * are written before the file is open wait for it; where there can be no file, standard error alone has them.
 */
export function openAppLog(file: string, toTerminal: boolean): Log {
  // The terminal may be closed while the app goes on.
  process.stderr.on("error", () => undefined);
  let waiting: string[] | undefined = [];
  let write: (line: string) => void = (line) => waiting?.push(line);
  const put = (line: string): void => {
    write(line);
    if (toTerminal) process.stderr.write(`${line}\n`);
  };
  const giveUp = (error: Error): void => {
    write = toTerminal ? () => undefined : (line) => process.stderr.write(`${line}\n`);
    put(`${new Date().toISOString()} warn  There is no log file ${file}: ${error.message}`);
    for (const line of waiting ?? []) write(line);
    waiting = undefined;
  };
  const open = async (): Promise<void> => {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const size = await stat(file).then(
      (found) => found.size,
      () => 0, // There is none yet.
    );
    if (size > maxBytes) await rename(file, `${file}.1`);
    const stream = createWriteStream(file, { flags: "a", mode: 0o600 });
    stream.on("error", giveUp);
    write = (line) => void stream.write(`${line}\n`);
    for (const line of waiting ?? []) write(line);
    waiting = undefined;
  };
  open().catch(giveUp);
  return createLog(put);
}
