import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { createLog, type Log } from "../../../core/base/log";
import { LeaseFile, parseLeases } from "../../../core/net/leaseFile";
import type { SavedLease } from "../../../core/net/services/dhcp";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const path = (): string => join(folder.path, "leases.json");
const lease = (last: number): SavedLease => ({ mac: "52:54:00:00:00:01", address: `10.0.2.${last}`, client: "0152540000", hostname: "web", expiresAt: 1000 });

interface Opened {
  readonly file: LeaseFile;
  readonly clock: ManualClock;
  readonly lines: string[];
}

function open(): Opened {
  const lines: string[] = [];
  const log: Log = createLog((line) => lines.push(line));
  const clock = new ManualClock();
  return { file: new LeaseFile(path(), clock, log), clock, lines };
}

async function saved({ file, clock }: Opened): Promise<unknown> {
  clock.advance(500);
  await file.settled();
  return JSON.parse(await readFile(path(), "utf8"));
}

describe("the file of leases", () => {
  it("has the leases of every network again after they were written, for nobody else to read", async () => {
    const first = open();
    expect(await first.file.load()).toEqual({});
    first.file.save("network:lab", [lease(15), lease(16)]);
    first.file.save("adapter:a:0", [lease(17)]);
    await saved(first);
    expect(await open().file.load()).toEqual({ "network:lab": [lease(15), lease(16)], "adapter:a:0": [lease(17)] });
    expect((await stat(path())).mode & 0o777).toBe(0o600);
    expect(await readdir(folder.path)).toEqual(["leases.json"]);
    expect(first.lines).toEqual([]);
  });

  it("writes changes that come close together once, and those that come later again", async () => {
    const opened = open();
    opened.file.save("one", [lease(15)]);
    opened.clock.advance(499);
    opened.file.save("one", [lease(16)]);
    expect(await readdir(folder.path)).toEqual([]);
    opened.clock.advance(1);
    await opened.file.settled();
    const { ino } = await stat(path());
    expect(await open().file.load()).toEqual({ one: [lease(16)] });
    opened.file.save("one", []);
    await saved(opened);
    expect((await stat(path())).ino).not.toBe(ino);
    expect(await open().file.load()).toEqual({ one: [] });
  });

  it("writes what changes while it is being written, too", async () => {
    const opened = open();
    opened.file.save("one", [lease(15)]);
    opened.clock.advance(500);
    // The write has begun when what waited for the clock has gone on.
    await Promise.resolve();
    await Promise.resolve();
    opened.file.save("one", [lease(16)]);
    await opened.file.settled();
    expect(await open().file.load()).toEqual({ one: [lease(16)] });
  });

  it("forgets the networks whose leases changed longest ago, and the first of too many leases", async () => {
    const opened = open();
    for (let number = 0; number < 256; number++) opened.file.save(`network:${number}`, [lease(15)]);
    opened.file.save("network:0", [lease(16)]);
    opened.file.save("network:new", Array.from({ length: 1025 }, (_, index) => ({ ...lease(15), expiresAt: index })));
    expect(await saved(opened)).toMatchObject({ leases: { "network:new": { length: 1024 } } });
    const leases = await open().file.load();
    expect(Object.keys(leases)).toHaveLength(256);
    expect(leases["network:1"]).toBeUndefined();
    expect(leases["network:0"]).toEqual([lease(16)]);
    expect(leases["network:new"]).toHaveLength(1024);
    expect(leases["network:new"]?.[0]?.expiresAt).toBe(1);
  });

  it("counts as empty, and says why, when it cannot be used", async () => {
    for (const text of ["", "{", "[]", '{"version":2,"leases":{}}', '{"version":1,"leases":[]}', " ".repeat(8 * 1024 * 1024 + 1)]) {
      await writeFile(path(), text);
      const { file, lines } = open();
      expect(await file.load()).toEqual({});
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain(path());
    }
  });

  it("is written anew after it could not be used", async () => {
    await writeFile(path(), "{");
    const opened = open();
    await opened.file.load();
    opened.file.save("one", [lease(15)]);
    await saved(opened);
    expect(await open().file.load()).toEqual({ one: [lease(15)] });
  });

  it("says that leases could not be kept, leaves nothing half written, and keeps them when it can again", async () => {
    const opened = open();
    const { path: home } = folder;
    await rm(home, { recursive: true });
    opened.file.save("one", [lease(15)]);
    opened.clock.advance(500);
    await opened.file.settled();
    expect(opened.lines).toHaveLength(1);
    expect(opened.lines[0]).toContain("the leases could not be kept");
    await mkdir(home);
    opened.file.save("two", [lease(16)]);
    await saved(opened);
    expect(await open().file.load()).toEqual({ one: [lease(15)], two: [lease(16)] });
  });
});

describe("what is read of a file of leases", () => {
  it("is the leases that are some, without the others", () => {
    const text = JSON.stringify({ version: 1, leases: { one: [lease(15), { ...lease(16), mac: "x" }, null, { ...lease(17), address: "10.0.2" }, lease(18)] } });
    expect(parseLeases(text)).toEqual({ one: [lease(15), lease(18)] });
  });

  it("is bounded, however much there is", () => {
    const leases = Object.fromEntries(Array.from({ length: 300 }, (_, number) => [`network:${number}`, number === 299 ? Array.from({ length: 1100 }, () => lease(15)) : []]));
    const parsed = parseLeases(JSON.stringify({ version: 1, leases }));
    expect(Object.keys(parsed)).toHaveLength(256);
    expect(parsed["network:299"]).toHaveLength(1024);
  });

  it("is leases or a refusal, whatever the file says", () => {
    const anything = fc.oneof(fc.json(), fc.string(), fc.record({ version: fc.constant(1), leases: fc.dictionary(fc.string(), fc.array(fc.jsonValue())) }).map((value) => JSON.stringify(value)));
    fc.assert(
      fc.property(anything, (text) => {
        let parsed: ReturnType<typeof parseLeases>;
        try {
          parsed = parseLeases(text);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          return;
        }
        for (const leases of Object.values(parsed)) for (const entry of leases) expect(typeof entry.mac).toBe("string");
      }),
    );
  });
});
