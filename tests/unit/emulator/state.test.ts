import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  checksum, emitHeader, firstChunkAt, hardwareDifference, maxMemoryBytes, maxOwnBytes, pageBytes, parseDescription, parseHeader,
  type StateHardware,
} from "../../../core/emulator/stateFormat";
import { openState, writeState, type RegionSource } from "../../../core/emulator/stateFile";

const hardware: StateHardware = {
  emulator: "1",
  devices: 1,
  memory: 4 * 1024 * 1024,
  disks: [{ id: "disk0", size: 1024, readOnly: false, inUse: true }],
  adapters: 4,
};
const queue = [1024, 1024, true, 0, 4096, -8192, 7, 12288, 0, 1];
const virtio = [0, 0, [512, 1], [512, 1], true, 15, false, 0, 0, 0, queue];
const rest = {
  hardware,
  clock: 12.5,
  disks: [{ virtio, stalled: [3, 5], size: 1024 }],
  adapters: [{ virtio: [...virtio, queue], mac: [82, 84, 0, 1, 2, 3], link: true }],
  serial: [{ fifo: [65], waiting: [] }, { fifo: [], waiting: [10, 255] }],
};

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

type Changeable = { regions: object[]; hardware: { disks?: unknown } } & Record<string, unknown>;

describe("a description", () => {
  const described: Record<string, unknown> = {
    ...rest,
    regions: [
      { name: "v86", bytes: 10_001, runs: [[0, 1], [2, 1]], chunks: [[4000, 1]] },
      { name: "memory", bytes: hardware.memory, runs: [[0, 256], [300, 2]], chunks: [[5000, 1], [96, 2]] },
    ],
  };
  const stored = 4000 + 5000 + 96;

  /** Writes a state that holds this description, with all checksums right, and nothing of use before it. */
  function opened(text: string | Uint8Array): ReturnType<typeof openState> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    const descriptionAt = firstChunkAt + stored;
    const header = emitHeader({
      ...{ compressed: true, fileBytes: descriptionAt + bytes.length, descriptionAt },
      ...{ descriptionBytes: bytes.length, descriptionChecksum: checksum(bytes) },
    });
    const file = new Uint8Array(descriptionAt + bytes.length);
    file.set(header);
    file.set(bytes, descriptionAt);
    const path = join(directory, "made.state");
    writeFileSync(path, file);
    const state = openState(path);
    if (state.ok) state.value.close();
    return state;
  }

  const changed = (change: (copy: Changeable) => void): string => {
    const copy = JSON.parse(JSON.stringify(described)) as Changeable;
    change(copy);
    return JSON.stringify(copy);
  };
  const region = (index: number, part: object): string => changed((copy) => Object.assign(copy.regions[index] ?? {}, part));
  const disk = (part: object): string => changed((copy) => Object.assign(copy, { disks: [{ virtio, stalled: [], size: 1, ...part }] }));
  const damaged = { ok: false, error: "its description is damaged" };

  it("is taken when all of it is as it should be", () => {
    expect(opened(JSON.stringify(described))).toMatchObject({ ok: true, value: { description: described } });
  });

  it.each([
    ["is cut off", "{"],
    ["is empty", ""],
    ["has nothing", "{}"],
    ["is nothing", "null"],
    ["is a list", "[]"],
    ["is no text", Uint8Array.of(0xff, 0xfe, 0)],
    ["has no regions", changed((copy) => Object.assign(copy, { regions: undefined }))],
    ["has a region that is no object", changed((copy) => Object.assign(copy, { regions: [null] }))],
    ["has a region twice", changed((copy) => Object.assign(copy, { regions: [copy.regions[0], copy.regions[0]] }))],
    ["has a region of another name", region(0, { name: "other" })],
    ["has a region of more bytes than can be", region(0, { bytes: 1e15 })],
    ["has a machine's own state of more bytes than one has", region(0, { bytes: 64 * 1024 * 1024 + 1 })],
    ["has a region of less than no bytes", region(0, { bytes: -1, runs: [], chunks: [] })],
    ["has a region of half a byte", region(0, { bytes: 10_000.5 })],
    ["has a region whose bytes are text", region(0, { bytes: "10001" })],
    ["has a run behind the region's end", region(0, { runs: [[0, 1], [3, 1]] })],
    ["has runs that overlap", region(1, { runs: [[0, 256], [255, 2]] })],
    ["has a run of a fraction", region(1, { runs: [[0, 256], [300.5, 2]] })],
    ["has a run of nothing", region(1, { runs: [[0, 256], [300, 0]] })],
    ["has a run of three numbers", region(1, { runs: [[0, 256, 1], [300, 2]] })],
    ["has too few chunks", region(1, { chunks: [[5096, 1]] })],
    ["has chunks that are not what lies in the file", region(1, { chunks: [[5000, 1], [97, 2]] })],
    ["has a chunk whose checksum is text", region(1, { chunks: [[5000, "1"], [96, 2]] })],
    ["has no clock", changed((copy) => Object.assign(copy, { clock: null }))],
    ["has a clock before the beginning", changed((copy) => Object.assign(copy, { clock: -1 }))],
    ["has hardware without disks", changed((copy) => delete copy.hardware.disks)],
    ["has a disk that is nothing", changed((copy) => Object.assign(copy, { disks: [null] }))],
    ["has a disk with a head that is no number", disk({ stalled: ["3"] })],
    ["has an adapter with half an address", changed((copy) => Object.assign(copy, { adapters: [{ virtio, mac: [1, 2, 3], link: true }] }))],
    ["has a queue whose size is no power of two", disk({ virtio: [...virtio.slice(0, 10), [3, ...queue.slice(1)]] })],
    ["has a queue larger than any of ours", disk({ virtio: [...virtio.slice(0, 10), [2048, ...queue.slice(1)]] })],
    ["has a device that is too short to have its features", disk({ virtio: [0, 0] })],
    ["has more failed requests than there can be", disk({ stalled: Array.from({ length: 1025 }, () => 0) })],
    ["has input that is no bytes", changed((copy) => Object.assign(copy, { serial: [{ fifo: [256], waiting: [] }] }))],
  ])("that %s is refused", (_, text) => {
    const before = readdirSync("/proc/self/fd").length;
    expect(opened(text)).toEqual(damaged);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  it("with any of its values replaced is refused, or says what can be read safely", () => {
    const places: (string | number)[][] = [];
    const walk = (value: unknown, path: (string | number)[]): void => {
      places.push(path);
      if (typeof value !== "object" || value === null) return;
      for (const key of Object.keys(value)) walk((value as Record<string, unknown>)[key], [...path, key]);
    };
    walk(described, []);
    const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.integer(), fc.constantFrom(-1, 0.5, 1e15, 1e300, 2 ** 53, "__proto__"));
    fc.assert(
      fc.property(fc.constantFrom(...places), odd, (path, value) => {
        const root = { all: JSON.parse(JSON.stringify(described)) as unknown };
        const keys = ["all", ...path];
        const last = keys.pop() as string;
        (keys.reduce((object: never, key) => object[key], root as never) as Record<string, unknown>)[last] = value;
        const bytes = new TextEncoder().encode(JSON.stringify(root.all));
        const descriptionAt = firstChunkAt + stored;
        const header = { compressed: true, fileBytes: 0, descriptionAt, descriptionBytes: bytes.length, descriptionChecksum: checksum(bytes) };
        const parsed = parseDescription(bytes, header);
        if (!parsed.ok) expect(parsed).toEqual(damaged);
        const regions = parsed.ok ? parsed.value.regions : [];
        for (const { name, bytes: size } of regions) expect(size).toBeLessThanOrEqual(name === "v86" ? maxOwnBytes : maxMemoryBytes);
      }),
      { numRuns: 1000 },
    );
  });

  it("that cannot be read at all is refused with the system's reason", () => {
    expect(openState(directory)).toMatchObject({ ok: false, error: expect.stringContaining("EISDIR") as string });
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
