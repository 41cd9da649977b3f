import { PassThrough, Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { attachSerial } from "../../../core/cli/serial";
import { until } from "../server/fakeHost";

/** A serial port whose two ends a test holds. */
function port(): { stream: Duplex; typed: PassThrough; said: PassThrough } {
  const typed = new PassThrough();
  const said = new PassThrough();
  return { stream: Duplex.from({ readable: said, writable: typed }), typed, said };
}

function pipes(): { stdin: PassThrough; stdout: PassThrough; stderr: PassThrough } {
  return { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
}

describe("a terminal on a serial port", () => {
  it("passes piped input on as it is, and ends when the guest has fallen silent after it", async () => {
    const { stream, typed, said } = port();
    const terminal = pipes();
    const done = attachSerial(stream, terminal, 20);
    terminal.stdin.end("uname\u001d\n");
    await until(() => typed.readableLength >= 7);
    said.write("Linux\n");
    await done;
    expect(String(typed.read())).toBe("uname\u001d\n");
    expect(String(terminal.stdout.read())).toBe("Linux\n");
  });

  it("ends when the machine does", async () => {
    const { stream, said } = port();
    const terminal = pipes();
    const done = attachSerial(stream, terminal, 60_000);
    said.end("Power down.\n");
    await done;
    expect(String(terminal.stdout.read())).toBe("Power down.\n");
  });

  it("is left with Ctrl+], which the guest does not get, and gives the keyboard back as it was", async () => {
    const { stream, typed } = port();
    const terminal = pipes();
    const modes: boolean[] = [];
    Object.assign(terminal.stdin, { isTTY: true, setRawMode: (raw: boolean) => modes.push(raw) });
    const done = attachSerial(stream, terminal, 60_000);
    terminal.stdin.write("ls\r\u0003");
    await until(() => typed.readableLength >= 4);
    terminal.stdin.write("x\u001dnever");
    await done;
    await until(() => typed.readableLength >= 5);
    expect(String(typed.read())).toBe("ls\r\u0003x");
    expect(modes).toEqual([true, false]);
  });

  it("fails when the port breaks", async () => {
    const { stream } = port();
    const done = attachSerial(stream, pipes(), 60_000);
    stream.destroy(new Error("broken"));
    await expect(done).rejects.toThrow("broken");
  });
});
