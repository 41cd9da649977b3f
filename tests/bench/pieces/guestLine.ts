/** The text of a guest's serial port, whoever emulates it. */
export interface GuestLine {
  readonly text: string;
  send(text: string): void;
  /** Waits until the text from `from` on matches. */
  until(pattern: RegExp, from?: number): Promise<RegExpExecArray>;
}

let marks = 0;

/** Runs a command line in the shell on a serial port. Milliseconds of the host from its begin to its end. */
export async function timeCommand(line: GuestLine, command: string): Promise<number> {
  const mark = `${++marks}x${Math.floor(performance.now())}`;
  const from = line.text.length;
  // The quotes keep the echo of the command from looking like its output.
  line.send(`echo "be"gin-${mark}; ${command}; echo "en"d-${mark}-$?\n`);
  await line.until(new RegExp(`begin-${mark}\\r?\\n`), from);
  const began = performance.now();
  const end = await line.until(new RegExp(`end-${mark}-(\\d+)`), from);
  const took = performance.now() - began;
  if (end[1] !== "0") throw new Error(`${command} ended with ${String(end[1])} in the guest`);
  return took;
}

/** Text that grows, with those who wait for more of it. */
export class GrowingText {
  text = "";
  private failure: Error | undefined;
  private readonly looks = new Set<() => void>();

  add(text: string): void {
    this.text += text;
    for (const look of [...this.looks]) look();
  }

  /** No more will come. */
  fail(error: Error): void {
    this.failure = error;
    for (const look of [...this.looks]) look();
  }

  until(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.text.slice(from));
        if (!match && !this.failure) return;
        this.looks.delete(look);
        if (match) resolve(match);
        else reject(new Error(`${this.failure?.message ?? ""}; the last text was\n${this.text.slice(-1000)}`));
      };
      this.looks.add(look);
      look();
    });
  }
}
