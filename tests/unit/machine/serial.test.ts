import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { SerialHub, serialHistoryBytes } from "../../../core/machine/serial";
import { duplexPair } from "../../support/duplexPair";
import { useTemporaryFolder } from "../../support/temporaryFolder";

/** A hub whose guest is at the other end of a connection in memory. */
function hubWithGuest(): { hub: SerialHub; guest: Duplex } {
  const [socket, guest] = duplexPair();
  const hub = new SerialHub();
  hub.attach(socket as Socket);
  return { hub, guest };
}

/** Collects what a viewer sees, until it is `length` bytes or the stream ends. */
function collect(stream: Duplex, length = Infinity): Promise<string> {
  let seen = "";
  return new Promise((resolve) => {
    stream.on("data", (data: Buffer) => {
      seen += data.toString("latin1");
      if (seen.length >= length) resolve(seen);
    });
    stream.on("end", () => resolve(seen));
  });
}

const write = (stream: Duplex, text: string | Buffer): Promise<void> => new Promise((resolve) => stream.write(text, () => resolve()));

describe("the serial hub", () => {
  const folder = useTemporaryFolder();

  it("shows every viewer what was written before and what follows", async () => {
    const { hub, guest } = hubWithGuest();
    const first = collect(hub.openViewer(), 10);
    await write(guest, "hello");
    const second = collect(hub.openViewer(), 10);
    await write(guest, "world");
    expect(await Promise.all([first, second])).toEqual(["helloworld", "helloworld"]);
    hub.dispose();
  });

  it("keeps the last 64 KB, whatever the pieces", async () => {
    const { hub, guest } = hubWithGuest();
    const all = Buffer.from(Array.from({ length: serialHistoryBytes * 3 + 777 }, (_, index) => index % 251));
    for (let at = 0; at < all.length; at += 7001) await write(guest, all.subarray(at, at + 7001));
    expect(hub.history().equals(all.subarray(all.length - serialHistoryBytes))).toBe(true);
    await write(guest, all);
    expect(hub.history().equals(all.subarray(all.length - serialHistoryBytes))).toBe(true);
    hub.dispose();
  });

  it("lets a stalled viewer skip what it missed, and holds up nobody for it", async () => {
    const { hub, guest } = hubWithGuest();
    const stalled = hub.openViewer();
    const quick = hub.openViewer();
    let quickBytes = 0;
    quick.on("data", (data: Buffer) => (quickBytes += data.length));
    const block = Buffer.alloc(16 * 1024, "x");
    const blocks = 20;
    for (let count = 0; count < blocks; count++) await write(guest, block);
    await write(guest, "the end");
    expect(quickBytes).toBe(block.length * blocks + "the end".length);
    hub.dispose();
    const seen = await collect(stalled);
    expect(seen).toMatch(/\r\n\[\d+ bytes left out: this viewer was too slow\]\r\n/);
    expect(seen.endsWith("the end")).toBe(true);
    expect(seen.length).toBeLessThan(3 * serialHistoryBytes);
  });

  it("sends what viewers type to the guest, in order", async () => {
    const { hub, guest } = hubWithGuest();
    const typed = collect(guest, 6);
    const [one, two] = [hub.openViewer(), hub.openViewer()];
    await write(one, "abc");
    await write(two, "def");
    expect(await typed).toBe("abcdef");
    one.destroy();
    two.destroy();
    hub.dispose();
  });

  it("ends its viewers when the machine stops, and takes what they still type", async () => {
    const { hub, guest } = hubWithGuest();
    const viewer = hub.openViewer();
    await write(guest, "last words");
    const seen = collect(viewer);
    hub.dispose();
    expect(await seen).toBe("last words");
    expect(await collect(hub.openViewer())).toBe("last words");
  });

  it("begins with the end of the log after a re-attach", async () => {
    const path = join(folder.path, "serial0.log");
    const hub = new SerialHub();
    await hub.readLog(path);
    expect(hub.history()).toHaveLength(0);
    await writeFile(path, `${"old ".repeat(serialHistoryBytes)}new`);
    await hub.readLog(path);
    const history = hub.history().toString();
    expect(history).toHaveLength(serialHistoryBytes);
    expect(history.endsWith("old new")).toBe(true);
    hub.dispose();
  });
});
