import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isNoSpace, withFaults, type BlockDevice, type ImageFile } from "../../../core/storage/blockDevice";
import { openFile, openImageFile, type ImageFileOptions } from "../../../core/storage/file";
import { lockImage, ownHolder } from "../../../core/storage/imageLock";

let directory: string;
let image: string;
const opened: Pick<BlockDevice, "close">[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "block-"));
  image = join(directory, "disk.img");
  writeFileSync(image, "");
  truncateSync(image, 1024 * 1024);
});
afterEach(async () => {
  for (const device of opened.splice(0)) await device.close();
  rmSync(directory, { recursive: true, force: true });
});

async function open(readOnly = false): Promise<BlockDevice> {
  const result = await openFile(image, { readOnly });
  if (!result.ok) throw new Error(result.error);
  opened.push(result.value);
  return result.value;
}

describe("a raw image", () => {
  it("reads back what was written, and holes as zeroes", async () => {
    const device = await open();
    expect(device.size).toBe(1024 * 1024);
    await device.write(4096, new Uint8Array(512).fill(9));
    await device.flush();
    const target = new Uint8Array(1536).fill(1);
    await device.read(4096 - 512, target);
    expect(Array.from(target.subarray(0, 512)).every((byte) => byte === 0)).toBe(true);
    expect(Array.from(target.subarray(512, 1024)).every((byte) => byte === 9)).toBe(true);
    expect(readFileSync(image)[4096]).toBe(9);
  });

  it("stays sparse", async () => {
    const device = await open();
    await device.write(512 * 1024, new Uint8Array(4096).fill(1));
    await device.flush();
    expect(statSync(image).blocks * 512).toBeLessThan(256 * 1024);
  });

  it("reads discarded ranges as zeroes", async () => {
    const device = await open();
    await device.write(0, new Uint8Array(8192).fill(5));
    await device.discard(1024, 2048);
    const target = new Uint8Array(8192);
    await device.read(0, target);
    expect([target[1023], target[1024], target[3071], target[3072]]).toEqual([5, 0, 0, 5]);
  });

  it("does not let a read-only image be written", async () => {
    const device = await open(true);
    expect(device.readOnly).toBe(true);
    await expect(device.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: "EBADF" });
  });

  it("cuts a size that is no multiple of the sector down", async () => {
    truncateSync(image, 10_000);
    expect((await open()).size).toBe(9728);
  });

  it.each([
    ["missing", () => rmSync(image), /does not exist/],
    ["empty", () => truncateSync(image, 0), /is empty/],
  ] as const)("says why a %s one cannot be opened", async (_, spoil, reason) => {
    spoil();
    const result = await openFile(image, { readOnly: false });
    expect(result.ok ? "" : result.error).toMatch(reason);
  });

  it("refuses a directory", async () => {
    const result = await openFile(directory, { readOnly: true });
    expect(result.ok ? "" : result.error).toMatch(/not a regular file|is a directory/);
  });
});

describe("faults", () => {
  it("fail the operations they choose and leave the others alone", async () => {
    const full = Object.assign(new Error("no space left"), { code: "ENOSPC" });
    const device = withFaults(await open(), (operation, offset) => (operation === "write" && offset >= 4096 ? full : undefined));
    await device.write(0, new Uint8Array(512).fill(3));
    await expect(device.write(4096, new Uint8Array(512))).rejects.toBe(full);
    expect(isNoSpace(full)).toBe(true);
    const target = new Uint8Array(512);
    await device.read(0, target);
    expect(target[0]).toBe(3);
  });
});

describe("the lock of an image", () => {
  it("keeps a second one out until it is released", async () => {
    const first = await lockImage(image);
    expect(first.ok).toBe(true);
    const second = await lockImage(image);
    expect(second.ok ? "" : second.error).toContain(`in use by process ${process.pid}`);
    if (first.ok) first.value.dispose();
    expect(existsSync(`${image}.lock`)).toBe(false);
    const third = await lockImage(image);
    expect(third.ok).toBe(true);
    if (third.ok) third.value.dispose();
  });

  it.each([
    ["a process that is gone", async () => JSON.stringify({ ...(await ownHolder()), pid: 2 ** 22 - 1 })],
    ["another process that has its pid today", async () => JSON.stringify({ ...(await ownHolder()), started: "1" })],
    ["a computer that was started again", async () => JSON.stringify({ ...(await ownHolder()), boot: "another" })],
    ["a write that was cut short", () => '{"pid":'],
  ])("is taken over from %s", async (_, content) => {
    writeFileSync(`${image}.lock`, await content());
    const lock = await lockImage(image);
    expect(lock.ok).toBe(true);
    if (lock.ok) lock.value.dispose();
  });

  it("is taken over from a process that has ended and was never waited for", async () => {
    // The shell's child ends when it is told to, and the program that the shell has become by then does not ask for it.
    const parent = spawn("sh", ["-c", "cat <&3 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore", "pipe"] });
    try {
      if (!parent.stdout) throw new Error("the shell has no output");
      const [line] = (await once(parent.stdout, "data")) as [Buffer];
      const pid = Number(line.toString());
      await vi.waitFor(() => expect(readFileSync(`/proc/${parent.pid ?? 0}/comm`, "utf8")).toBe("sleep\n"), 10_000);
      parent.stdio[3]?.destroy();
      await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/stat`, "utf8")).toMatch(/\) Z /), 10_000);
      writeFileSync(`${image}.lock`, JSON.stringify({ ...(await ownHolder()), pid, started: null }));
      const lock = await lockImage(image);
      expect(lock.ok).toBe(true);
      if (lock.ok) lock.value.dispose();
    } finally {
      parent.kill("SIGKILL");
    }
  });

  it("leaves nothing else behind", async () => {
    writeFileSync(`${image}.lock`, "stale");
    const lock = await lockImage(image);
    if (lock.ok) lock.value.dispose();
    const { readdirSync } = await import("node:fs");
    expect(readdirSync(directory)).toEqual(["disk.img"]);
  });
});

describe("a file that grows", () => {
  async function openGrowing(options: ImageFileOptions, path = image): Promise<ImageFile> {
    const result = await openImageFile(path, options);
    if (!result.ok) throw new Error(result.error);
    opened.push(result.value);
    return result.value;
  }

  it("grows as it is written, and is shortened", async () => {
    const file = await openGrowing({ readOnly: false, create: true }, join(directory, "new"));
    expect(file.length).toBe(0);
    await file.write(70_000, new Uint8Array([1, 2, 3]));
    expect([file.length, statSync(join(directory, "new")).size]).toEqual([70_003, 70_003]);
    const found = new Uint8Array(6).fill(9);
    await file.read(69_999, found);
    expect([...found]).toEqual([0, 1, 2, 3, 0, 0]);
    await file.truncate(70_001);
    await file.read(69_999, found);
    expect([file.length, ...found]).toEqual([70_001, 0, 1, 0, 0, 0, 0]);
    await file.flush();
  });

  it("is not made where there is a file, nor opened through a symbolic link where that is refused, nor when it is none", async () => {
    symlinkSync(image, join(directory, "link"));
    expect(await openImageFile(image, { readOnly: false, create: true })).toEqual({ ok: false, error: `There is a file ${image} already` });
    expect(await openImageFile(join(directory, "link"), { readOnly: true, noFollow: true })).toEqual({ ok: false, error: `${join(directory, "link")} is a symbolic link, not an image` });
    expect((await openImageFile(directory, { readOnly: true })).ok).toBe(false);
    expect((await openGrowing({ readOnly: true }, join(directory, "link"))).length).toBe(1024 * 1024);
  });

  it("is read in place as long as that is quick, and by other threads after it was slow, for longer each time", async () => {
    let [now, asked] = [0, 0];
    let slow = false;
    const file = await openGrowing({ readOnly: true, clock: { monotonic: () => (asked++, (now += slow ? 1 : 0)) } });
    const target = new Uint8Array(512);
    const inPlace = async (reads: number): Promise<number> => {
      const before = asked;
      for (let index = 0; index < reads; index++) await file.read(index * 512, target);
      return (asked - before) / 2;
    };
    expect(await inPlace(100)).toBe(100);
    slow = true;
    expect(await inPlace(1)).toBe(1);
    expect(await inPlace(16)).toBe(0);
    expect(await inPlace(1)).toBe(1);
    slow = false;
    expect(await inPlace(32)).toBe(0);
    expect(await inPlace(100)).toBe(100);
    // Nobody else would have a turn otherwise.
    expect(await inPlace(1000)).toBeLessThan(1000);
    await file.read(0, new Uint8Array(64 * 1024));
    expect(await inPlace(0)).toBe(0);
  });
});
