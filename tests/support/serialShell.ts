import type { Duplex } from "node:stream";

/** A guest on whose serial port lines are taken as commands, and nothing is echoed. */
export class SerialShell {
  /** Everything seen so far. */
  text = "";
  private count = 0;
  private readonly waiting = new Set<() => void>();
  private ended = false;

  constructor(private readonly stream: Duplex) {
    stream.setEncoding("latin1");
    stream.on("data", (data: string) => {
      this.text += data;
      this.wake();
    });
    stream.on("close", () => {
      this.ended = true;
      this.wake();
    });
  }

  /** Resolves with the match when the guest has said it, from character `since` on. */
  until(pattern: RegExp, since = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.text.slice(since));
        if (match === null && !this.ended) return;
        this.waiting.delete(look);
        if (match !== null) resolve(match);
        else reject(new Error(`the guest never said ${pattern.source}, but:\n${this.text.slice(since)}`));
      };
      this.waiting.add(look);
      look();
    });
  }

  /** Runs a line and answers with what it printed; throws when it fails. */
  async run(line: string): Promise<string> {
    const mark = `<end ${++this.count}>`;
    const since = this.text.length;
    this.stream.write(`(${line}) < /dev/null 2>&1; echo "${mark} $?"\n`);
    const [whole, code] = await this.until(new RegExp(`${mark} (\\d+)\\r?\\n`), since);
    const said = this.text.slice(since, this.text.indexOf(whole, since)).replaceAll("\r\n", "\n").trimEnd();
    if (code !== "0") throw new Error(`${line}: exit code ${code}: ${said}`);
    return said;
  }

  /** Writes a line without waiting for its end. */
  send(line: string): void {
    this.stream.write(`${line}\n`);
  }

  private wake(): void {
    for (const look of [...this.waiting]) look();
  }
}
