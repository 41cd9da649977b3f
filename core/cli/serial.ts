import type { Duplex } from "node:stream";
import type { Terminal } from "./verb";

/** Ctrl+], as telnet has it. */
const leave = 0x1d;

/**
 * Joins the terminal to a serial port until one of them has had enough: Ctrl+] was pressed, the port's stream ended, or
 * input that is no terminal ended and then nothing came for `lingerMs`.
 */
export function attachSerial(stream: Duplex, terminal: Terminal, lingerMs: number): Promise<void> {
  const { stdin, stdout, stderr } = terminal;
  const keyboard = "isTTY" in stdin && stdin.isTTY ? (stdin as NodeJS.ReadStream) : undefined;
  return new Promise((resolve, reject) => {
    let quiet: NodeJS.Timeout | undefined;
    const lingering = (): void => {
      clearTimeout(quiet);
      quiet = setTimeout(() => settle(), lingerMs);
    };
    const onInput = (chunk: Buffer | string): void => {
      const bytes = Buffer.from(chunk as Buffer);
      const at = keyboard === undefined ? -1 : bytes.indexOf(leave);
      const more = stream.write(at < 0 ? bytes : bytes.subarray(0, at));
      if (at >= 0) return settle();
      if (!more) stdin.pause();
    };
    const onDrain = (): void => void stdin.resume();
    const onOutput = (chunk: Buffer): void => {
      if (quiet !== undefined) lingering();
      if (stdout.write(chunk)) return;
      stream.pause();
      stdout.once("drain", () => stream.resume());
    };
    const onEnd = (): void => settle();
    const settle = (failure?: Error): void => {
      clearTimeout(quiet);
      stdin.off("data", onInput);
      stdin.off("end", lingering);
      stdin.pause();
      keyboard?.setRawMode(false);
      stream.off("data", onOutput);
      stream.off("drain", onDrain);
      stream.off("end", onEnd);
      stream.off("close", onEnd);
      // Ended and not cut, so that what was typed last still arrives.
      stream.end();
      stream.resume();
      if (keyboard) stderr.write("\r\n");
      if (failure === undefined) resolve();
      else reject(failure);
    };
    stream.on("data", onOutput);
    stream.on("drain", onDrain);
    stream.on("end", onEnd);
    stream.on("close", onEnd);
    stream.on("error", settle);
    if (keyboard) {
      stderr.write("Connected. Ctrl+] leaves.\r\n");
      keyboard.setRawMode(true);
    } else stdin.on("end", lingering);
    stdin.on("data", onInput);
    stdin.resume();
  });
}
