import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checksum, emitHeader, hardwareDifference, pageBytes, parseHeader, type StateHardware } from "../../../core/emulator/stateFormat";
import { openState, writeState, type RegionSource } from "../../../core/emulator/stateFile";

const hardware: StateHardware = {
  emulator: "1",
  devices: 1,
  memory: 4 * 1024 * 1024,
  disks: [{ id: "disk0", size: 1024, readOnly: false, inUse: true }],
  adapters: 4,
};
const rest = { hardware, clock: 12.5, disks: [{ a: 1 }], adapters: [], serial: [] };

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "state-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function region(name: RegionSource["name"], bytes: Uint8Array): RegionSource {
  return { name, bytes, isZero: (page) => bytes.subarray(page * pageBytes, (page + 1) * pageBytes).every((byte) => byte === 0) };
}

function someMemory(): Uint8Array {
  const bytes = new Uint8Array(hardware.memory);
  for (const page of [0, 1, 2, 7, 300, 301, 800, 1023]) bytes.fill(page % 251 || 1, page * pageBytes, (page + 1) * pageBytes);
  return bytes;
}

async function save(compress: boolean, cancelled = false): Promise<string> {
  const path = join(directory, "machine.state");
  const odd = new Uint8Array(10_001).fill(3);
  const written = await writeState(path, rest, [region("v86", odd), region("memory", someMemory())], compress, {
    progress: () => undefined,
    isCancelled: () => cancelled,
  });
  if (!written.ok) throw new Error(written.error);
  return path;
}

async function load(path: string): Promise<{ memory?: Uint8Array; v86?: Uint8Array; reason?: string }> {
  const state = openState(path);
  if (!state.ok) return { reason: state.error };
  try {
    const found: { memory?: Uint8Array; v86?: Uint8Array } = {};
    for (const part of state.value.description.regions) {
      const target = new Uint8Array(part.bytes);
      const read = await state.value.readRegion(part, target);
      if (!read.ok) return { reason: read.error };
      found[part.name] = target;
    }
    return found;
  } finally {
    state.value.close();
  }
}

/** Comparing megabytes byte by byte is not what a matcher is for. */
function isWhole(found: { memory?: Uint8Array; v86?: Uint8Array }): boolean {
  const same = (a: Uint8Array | undefined, b: Uint8Array): boolean => a !== undefined && Buffer.compare(a, b) === 0;
  return same(found.memory, someMemory()) && same(found.v86, new Uint8Array(10_001).fill(3));
}

describe.each([
  ["uncompressed", false],
  ["compressed", true],
])("an %s state file", (_, compress) => {
  it("gives back what was saved, without the pages of zeroes", async () => {
    const path = await save(compress);
    const found = await load(path);
    expect(isWhole(found)).toBe(true);
    expect(statSync(path).size).toBeLessThan(15 * pageBytes);
    expect(readdirSync(directory)).toEqual(["machine.state"]);
  });

  it("is refused when any one bit of it is wrong, unless that says the same", async () => {
    const path = await save(compress);
    const good = readFileSync(path);
    const meaningful = (at: number): boolean => at < 40 || (at >= 60 && at < 64) || at >= 4096;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: good.length - 1 }).filter(meaningful), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] as number) ^ (1 << bit);
        writeFileSync(path, bad);
        const found = await load(path);
        // Some bits of compressed data mean nothing; what counts is that nothing else comes out.
        expect(found.reason !== undefined || (compress && isWhole(found))).toBe(true);
      }),
    );
  });

  it("is refused at every shorter length", async () => {
    const path = await save(compress);
    const good = readFileSync(path);
    for (const length of [0, 7, 63, 64, 4096, Math.floor(good.length / 2), good.length - 1]) {
      writeFileSync(path, good.subarray(0, length));
      expect((await load(path)).reason).toMatch(/not a saved state|cut short/);
    }
  });
});

describe("saving", () => {
  it("leaves nothing when it is cancelled", async () => {
    await expect(save(false, true)).rejects.toThrow("cancelled");
    expect(readdirSync(directory)).toEqual([]);
  });

  it("keeps the earlier state when it fails", async () => {
    const path = await save(false);
    const before = readFileSync(path);
    await expect(save(false, true)).rejects.toThrow("cancelled");
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

describe("a header", () => {
  it("never throws on arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(parseHeader(bytes, bytes.length).ok).toBe(false);
      }),
    );
  });

  it("is refused when it points outside the file", () => {
    const header = { compressed: false, fileBytes: 5000, descriptionAt: 4096, descriptionBytes: 5000, descriptionChecksum: 0 };
    expect(parseHeader(emitHeader(header), 5000)).toEqual({ ok: false, error: "its header is damaged" });
  });
});

describe("a checksum", () => {
  it("changes with any one word", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, place, change) => {
        const other = bytes.slice();
        const at = place % bytes.length;
        other[at] = (other[at] as number) ^ change;
        expect(checksum(other)).not.toBe(checksum(bytes));
      }),
    );
  });
});

describe("the hardware of a state", () => {
  it("fits itself, and another disk where none was in use", () => {
    expect(hardwareDifference(hardware, hardware)).toBeUndefined();
    const unused = { ...hardware, disks: [{ id: "disk0", size: 1024, readOnly: false, inUse: false }] };
    expect(hardwareDifference(unused, { ...hardware, disks: [{ id: "disk0", size: 9999, readOnly: true, inUse: false }] })).toBeUndefined();
  });

  it.each([
    [{ emulator: "2" }, /emulator 1, and this one is 2/],
    [{ devices: 2 }, /device model 1/],
    [{ memory: 8 * 1024 * 1024 }, /4 MiB of memory, and the machine has 8 MiB/],
    [{ adapters: 1 }, /4 adapters/],
    [{ disks: [] }, /1 disks, and the machine has 0/],
    [{ disks: [{ id: "disk0", size: 512, readOnly: false, inUse: false }] }, /disk0 had 1024 bytes/],
    [{ disks: [{ id: "disk0", size: 1024, readOnly: true, inUse: false }] }, /disk0 was writable/],
  ])("is told apart from %j", (change, reason) => {
    expect(hardwareDifference(hardware, { ...hardware, ...change })).toMatch(reason);
  });
});
