import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, readdir, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { inspectFile } from "../../core/machine/media";
import { convertImage, imageInfo, progressReader, resizeImage, type ConvertOptions } from "../../core/storage/formats/qemuImg";
import { MiB } from "../../core/base/bytes";
import { useTemporaryFolder } from "../support/temporaryFolder";

const folder = useTemporaryFolder();
const place = (name: string): string => join(folder.path, name);
const qemuImg = (...args: string[]): string => execFileSync("qemu-img", args, { encoding: "utf8", stdio: "pipe" });

/** As QEMU calls them. */
const formats: readonly (readonly [ours: string, theirs: string])[] = [["qcow2", "qcow2"], ["vmdk", "vmdk"], ["vdi", "vdi"], ["vhdx", "vhdx"], ["vhd", "vpc"], ["raw", "raw"]];

beforeEach(async () => {
  const disk = Buffer.alloc(16 * MiB);
  for (let at = 0; at < disk.length; at += 4096) if ((at / MiB) % 2 < 1) disk.writeUInt32LE(at + 1, at);
  await writeFile(place("disk"), disk);
});

function convert(options: Partial<ConvertOptions> & { from: string }): Promise<void> {
  return convertImage({ qemuImg: "qemu-img", fromFormat: "qcow2", to: place("new"), toFormat: "qcow2", signal: new AbortController().signal, progress: () => undefined, ...options });
}

/** A program in front of qemu-img. */
async function wrapper(script: string): Promise<string> {
  const path = place("qemu-img");
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

describe("convertImage", () => {
  it.each(formats)("makes of a %s image the same disk, raw and as QCOW2", async (ours, theirs) => {
    const from = place("old image");
    qemuImg("convert", "-f", "raw", "-O", theirs, place("disk"), from);
    for (const toFormat of ["raw", "qcow2"] as const) {
      const to = place(`new.${toFormat}`);
      const told: number[] = [];
      await convert({ from, fromFormat: ours, to, toFormat, progress: (fraction) => told.push(fraction) });
      // Compared with the source as QEMU reads it: a VHD is rounded up to whole cylinders.
      expect(qemuImg("compare", "-f", theirs, "-F", toFormat, from, to)).toContain("identical");
      if (toFormat === "qcow2") expect(qemuImg("check", "-f", "qcow2", to)).toContain("No errors");
      expect((await stat(to)).mode & 0o777).toBe(0o600);
      expect(told.length).toBeGreaterThan(3);
      expect([...told].sort((a, b) => a - b)).toEqual(told);
      expect(told.at(-1)).toBe(1);
    }
  });

  it("takes a name for a file, whatever QEMU might read in it", async () => {
    await mkdir(place("nbd:"));
    const from = place('nbd:/"json:{"driver":"nbd"},file.filename=a b\\.qcow2');
    qemuImg("convert", "-f", "raw", "-O", "qcow2", place("disk"), place("old"));
    await writeFile(from, readFileSync(place("old")));
    await convert({ from, to: place("new:,a=b") });
    expect(qemuImg("compare", "-f", "raw", "-F", "qcow2", place("disk"), place("new:,a=b"))).toContain("identical");
  });

  it("opens no file that an image names", async () => {
    await writeFile(place("secret"), "SECRET".repeat(1000));
    const made: readonly (readonly [string, readonly string[], string])[] = [
      ["backing.qcow2", ["-f", "qcow2", "-b", place("secret"), "-F", "raw"], "builds on the file"],
      ["data.qcow2", ["-f", "qcow2", "-o", `data_file=${place("data")},data_file_raw=on`], "in another file"],
      ["flat.vmdk", ["-f", "vmdk", "-o", "subformat=monolithicFlat"], "only lists"],
      ["split.vmdk", ["-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"], "only lists"],
    ];
    for (const [name, args, message] of made) {
      const from = place(name);
      qemuImg("create", "-q", ...args, from, "1M");
      const fromFormat = name.split(".")[1] ?? "";
      await expect(convert({ from, fromFormat }), name).rejects.toMatchObject({ code: "image-unusable", message: expect.stringContaining(message) as string, remedy: expect.any(String) as string });
      expect((await inspectFile(from)).problem?.message, name).toContain(message);
      expect(existsSync(place("new")), name).toBe(false);
    }
    qemuImg("create", "-q", "-f", "vmdk", place("parent.vmdk"), "1M");
    qemuImg("create", "-q", "-f", "vmdk", "-b", place("parent.vmdk"), "-F", "vmdk", place("child.vmdk"));
    await expect(convert({ from: place("child.vmdk"), fromFormat: "vmdk" })).rejects.toMatchObject({ code: "image-unusable", message: expect.stringContaining("parent.vmdk") as string });
  });

  it("reads as raw what is said to be raw, whatever it begins with", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "-b", place("disk"), "-F", "raw", place("guest"), "16M");
    await convert({ from: place("guest"), fromFormat: "raw", toFormat: "raw" });
    expect(readFileSync(place("new")).subarray(0, (await stat(place("guest"))).size).equals(readFileSync(place("guest")))).toBe(true);
  });

  it("ends at once when it is cancelled, and leaves nothing", async () => {
    qemuImg("convert", "-f", "raw", "-O", "qcow2", place("disk"), place("old"));
    const program = await wrapper(`[ "$1" = check ] || echo $$ > ${place("pid")}; exec qemu-img "$@"`);
    const abort = new AbortController();
    const pids: number[] = [];
    await expect(
      convert({
        qemuImg: program,
        from: place("old"),
        signal: abort.signal,
        progress: () => {
          pids.push(Number(readFileSync(place("pid"), "utf8")));
          abort.abort();
        },
      }),
    ).rejects.toMatchObject({ code: "cancelled" });
    expect(pids[0]).toBeGreaterThan(0);
    expect(existsSync(`/proc/${pids[0]}`)).toBe(false);
    expect(existsSync(place("new"))).toBe(false);
    await expect(convert({ from: place("old"), signal: abort.signal })).rejects.toMatchObject({ code: "cancelled" });
    expect(existsSync(place("new"))).toBe(false);
  });

  it("says that the disk is full, in QEMU's words too, and leaves nothing", async () => {
    await mkdir(place("small"));
    // A file system of 1 MB, which only this process sees; people who are not the superuser need a user namespace for it.
    const namespaces = process.getuid?.() === 0 ? "--mount" : "--user --map-root-user --mount";
    const program = await wrapper(`exec unshare ${namespaces} sh -c 'mount -t tmpfs -o size=1m none ${place("small")} && exec qemu-img "$@"' sh "$@"`);
    const failure = convert({ qemuImg: program, from: place("disk"), fromFormat: "raw", to: place("small/new") });
    await expect(failure).rejects.toMatchObject({ code: "disk-full", message: expect.stringContaining("No space left on device") as string, remedy: expect.stringContaining("Free some space") as string });
    expect(await readdir(place("small"))).toEqual([]);
  });

  it("does not touch a file that is there already", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("old"), "1M");
    await writeFile(place("new"), "precious");
    await expect(convert({ from: place("old") })).rejects.toMatchObject({ code: "io", message: expect.stringContaining("already") as string });
    expect(readFileSync(place("new"), "utf8")).toBe("precious");
  });

  it("explains images that are damaged or something else", async () => {
    qemuImg("convert", "-f", "raw", "-O", "qcow2", place("disk"), place("cut"));
    await truncate(place("cut"), 5 * MiB);
    await expect(convert({ from: place("cut") })).rejects.toMatchObject({ code: "image-unusable", message: expect.stringContaining("cut off") as string });
    for (const fromFormat of ["qcow2", "vdi", "vhdx"]) {
      await expect(convert({ from: place("disk"), fromFormat }), fromFormat).rejects.toMatchObject({ code: "image-unusable", message: expect.stringMatching(/QEMU says: Could not open '\//) as string });
    }
    await expect(convert({ from: place("disk"), fromFormat: "dmg" })).rejects.toMatchObject({ code: "unsupported" });
    await expect(convert({ from: place("gone") })).rejects.toMatchObject({ code: "not-found" });
    await expect(convert({ from: folder.path })).rejects.toMatchObject({ code: "image-unusable" });
    await expect(convert({ from: "relative" })).rejects.toMatchObject({ code: "invalid-input" });
    expect(existsSync(place("new"))).toBe(false);
  });

  it("says what to install when there is no qemu-img", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("old"), "1M");
    await expect(convert({ from: place("old"), qemuImg: place("none") })).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining(place("none")) as string, remedy: expect.stringContaining("qemu-utils") as string });
    expect(existsSync(place("new"))).toBe(false);
  });

  it("runs qemu-img with a limit on memory and without the rest of the environment", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("old"), "1M");
    process.env["TERRARIUM_TEST_SECRET"] = "secret";
    try {
      const program = await wrapper(`{ ulimit -v; ulimit -c; env; } > ${place("limits")}; exec qemu-img "$@"`);
      await convert({ from: place("old"), qemuImg: program });
      const [memory, core, ...environment] = readFileSync(place("limits"), "utf8").trim().split("\n");
      expect([Number(memory), core]).toEqual([2 * 1024 * 1024, "0"]);
      expect(environment.map((line) => line.split("=")[0]).filter((name) => !["PWD", "_", "SHLVL", "OLDPWD"].includes(name ?? "")).sort()).toEqual([...(process.env["LD_LIBRARY_PATH"] === undefined ? [] : ["LD_LIBRARY_PATH"]), "LC_ALL", "PATH"].sort());
    } finally {
      delete process.env["TERRARIUM_TEST_SECRET"];
    }
  });
});

describe("resizeImage", () => {
  const resize = (format: string, bytes: number, signal = new AbortController().signal): Promise<void> => resizeImage({ qemuImg: "qemu-img", file: place("image"), format, bytes, signal });

  it.each(["raw", "qcow2"])("makes a %s image longer, and keeps what is in it", async (format) => {
    qemuImg("convert", "-f", "raw", "-O", format, place("disk"), place("image"));
    // The last one is shorter than it is: nothing is ever cut off.
    for (const [bytes, becomes] of [[16 * MiB, 16 * MiB], [20 * MiB + 512, 20 * MiB + 512], [1 * MiB, 20 * MiB + 512]] as const) {
      await resize(format, bytes);
      expect((await imageInfo("qemu-img", place("image"), format)).virtualBytes).toBe(becomes);
    }
    // Beyond the shorter one both read as zeroes.
    expect(qemuImg("compare", "-f", "raw", "-F", format, place("disk"), place("image"))).toContain("identical");
  });

  it("changes nothing when it is cancelled before", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("image"), "4M");
    await expect(resize("qcow2", 8 * MiB, AbortSignal.abort())).rejects.toMatchObject({ code: "cancelled" });
    expect((await imageInfo("qemu-img", place("image"), "qcow2")).virtualBytes).toBe(4 * MiB);
  });
});

describe("imageInfo", () => {
  it("tells size and snapshots, and names a backing file that it never opens", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("a"), "3M");
    qemuImg("snapshot", "-c", "before", place("a"));
    expect(await imageInfo("qemu-img", place("a"), "qcow2")).toMatchObject({ virtualBytes: 3 * MiB, encrypted: false, corrupt: false, snapshots: [{ id: "1", name: "before", stateBytes: 0 }] });
    // A backing file that does not exist would be an error if it were opened.
    qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", "/gone/base", "-F", "raw", place("b"), "5M");
    expect(await imageInfo("qemu-img", place("b"), "qcow2")).toMatchObject({ virtualBytes: 5 * MiB, backingFile: "/gone/base" });
    qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${place("data")}`, place("c"), "1M");
    await expect(imageInfo("qemu-img", place("c"), "qcow2")).rejects.toMatchObject({ code: "image-unusable" });
  });

  it.each(formats)("agrees with our own reading of the header of a %s image", async (ours, theirs) => {
    qemuImg("convert", "-f", "raw", "-O", theirs, place("disk"), place("image"));
    const { virtualBytes } = await imageInfo("qemu-img", place("image"), ours);
    expect(await inspectFile(place("image"))).toMatchObject({ format: ours === "raw" ? expect.any(String) as string : ours });
    if (ours !== "raw") expect((await inspectFile(place("image"))).virtualBytes).toBe(virtualBytes);
  });

  it("tells an encrypted image, and that one marked as damaged is", async () => {
    qemuImg("create", "-q", "--object", "secret,id=s,data=geheim", "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", place("locked"), "1M");
    expect(await imageInfo("qemu-img", place("locked"), "qcow2")).toMatchObject({ encrypted: true });
    await expect(convert({ from: place("locked") })).rejects.toMatchObject({ code: "image-unusable", message: expect.stringContaining("encrypted") as string });
    qemuImg("create", "-q", "-f", "qcow2", place("bad"), "1M");
    const bytes = readFileSync(place("bad"));
    bytes.writeBigUInt64BE(bytes.readBigUInt64BE(72) | 2n, 72);
    await writeFile(place("bad"), bytes);
    expect(await imageInfo("qemu-img", place("bad"), "qcow2")).toMatchObject({ corrupt: true });
  });

  it("believes no answer that is endless, late or of another shape", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("a"), "1M");
    await expect(imageInfo(await wrapper("exec yes"), place("a"), "qcow2")).rejects.toMatchObject({ code: "image-unusable", message: expect.stringContaining("no end") as string });
    await expect(imageInfo(await wrapper("exec sleep 1000"), place("a"), "qcow2", { seconds: 0.2 })).rejects.toMatchObject({ code: "timeout" });
    for (const answer of ["", "null", "[]", '{"virtual-size":"1"}', '{"virtual-size":-1}', '{"virtual-size":1,"snapshots":{}}', '{"virtual-size":1,"snapshots":[null]}', '{"virtual-size":1,"backing-filename":{}}', '{"__proto__":{"virtual-size":1}}']) {
      await expect(imageInfo(await wrapper(`printf '%s' '${answer}'`), place("a"), "qcow2"), answer).rejects.toMatchObject({ code: "engine-failed" });
    }
  });
});

describe("progressReader", () => {
  it("reads figures that come in pieces, and tells rising ones only", () => {
    const told: number[] = [];
    const read = progressReader((fraction) => told.push(fraction));
    for (const piece of ["    (0.00/100%)\r    (12.", "50/100%)\r", "    (12.50/100%)\r    (7.00/100%)\r", "(99", ".50/1", "00%)", "rubbish (1000.00/100%) (999.00/100%)"]) read(Buffer.from(piece));
    expect(told).toEqual([0, 0.125, 0.995, 1]);
  });
});

describe("a QCOW2 image that is cut off", () => {
  const looked = async (path: string): Promise<string | undefined> => (await inspectFile(path)).problem?.message;

  it.each([[""], ["cluster_size=512"], ["cluster_size=4k"], ["cluster_size=2M"], ["compat=0.10"], ["extended_l2=on"], ["preallocation=metadata"], ["preallocation=falloc"], ["refcount_bits=64"]])("is told from one that is whole: %s", async (options) => {
    qemuImg("convert", "-f", "raw", "-O", "qcow2", ...(options === "" ? [] : ["-o", options]), place("disk"), place("image"));
    expect(await looked(place("image"))).toBeUndefined();
    const { size } = await stat(place("image"));
    for (const left of [size - (size % 512 === 0 ? 512 : size % 512), Math.floor(size / 2), 100_000, 300, 40]) {
      await truncate(place("image"), left);
      expect(await looked(place("image")), String(left)).toContain("cut off: it has ");
    }
  });

  it("is told from one that is whole when it is compressed", async () => {
    qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", place("disk"), place("image"));
    expect(await looked(place("image"))).toBeUndefined();
    await truncate(place("image"), Math.floor((await stat(place("image"))).size * 0.7));
    expect(await looked(place("image"))).toContain("cut off");
  });

  it("is not suspected where only the rest of the cluster is missing in which the disk ends, as QEMU does not", async () => {
    await truncate(place("disk"), 3_000_320);
    qemuImg("convert", "-f", "raw", "-O", "qcow2", place("disk"), place("image"));
    const { size } = await stat(place("image"));
    await truncate(place("image"), size - 65_536 + (3_000_320 % 65_536));
    expect(qemuImg("check", "-f", "qcow2", place("image"))).toContain("No errors");
    expect(qemuImg("compare", "-f", "raw", "-F", "qcow2", place("disk"), place("image"))).toContain("identical");
    expect(await looked(place("image"))).toBeUndefined();
    await truncate(place("image"), size - 65_536 + (3_000_320 % 65_536) - 512);
    expect(await looked(place("image"))).toContain("cut off");
  });

  it("is told from one that is whole when its tables lead farther than any file goes, and can be used after what its remedy says else", async () => {
    qemuImg("convert", "-f", "raw", "-O", "qcow2", place("disk"), place("image"));
    const whole = readFileSync(place("image"));
    const bytes = Buffer.from(whole);
    const second = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(40))) & 0x00ff_ffff_ffff_fe00n);
    bytes.writeBigUInt64BE(0x80ff_ffff_ffff_fe00n, second);
    await writeFile(place("image"), bytes);
    const { problem } = await inspectFile(place("image"));
    expect(problem).toMatchObject({ message: expect.stringContaining("cut off") as string, remedy: expect.not.stringContaining("truncate") as string });
    await writeFile(place("image"), whole.subarray(0, whole.length - 100_000));
    const [, length] = /truncate -s (\d+) /.exec((await inspectFile(place("image"))).problem?.remedy ?? "") ?? [];
    await truncate(place("image"), Number(length));
    expect(await looked(place("image"))).toBeUndefined();
    expect(qemuImg("check", "-f", "qcow2", place("image"))).toContain("No errors");
  });

  it("is not suspected in one that was written to here and there, and emptied in part", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("image"), "100000256");
    const io = (...commands: string[]): string => execFileSync("qemu-io", [...commands.flatMap((command) => ["-c", command]), place("image")], { encoding: "utf8", stdio: "pipe" });
    for (const command of ["write -P 1 5000k 4k", "write -P 2 99999744 512", "write -z 20M 3M", "discard 5000k 4k", "write -P 3 30M 1536", "write -z -u 30M 64k", "write -P 4 70M 3M"]) {
      io(command);
      expect(await looked(place("image")), command).toBeUndefined();
    }
  });
});
