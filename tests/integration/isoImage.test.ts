import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { IsoImage } from "../../core/machine/isoImage";
import { inspectFile } from "../../core/machine/media";
import { hashPassword, seedImage } from "../../core/machine/seed";
import { writeIso } from "../../core/storage/formats/isoWriter";
import { useTemporaryFolder } from "../support/temporaryFolder";

const folder = useTemporaryFolder();
const place = (name: string): string => join(folder.path, name);
const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: "utf8", stdio: "pipe", env: { ...process.env, PATH: `${process.env["PATH"]}:/sbin:/usr/sbin` } });

async function tree(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(place("tree"), name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  return place("tree");
}

async function openIso(path: string): Promise<IsoImage | undefined> {
  const file = await open(path, "r");
  try {
    const bytes = await file.readFile();
    return await IsoImage.open((offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)));
  } finally {
    await file.close();
  }
}

const debian = {
  ".disk/info": 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:28\n',
  "install.amd/vmlinuz": "kernel",
  "boot/bios.img": randomBytes(2048),
  "boot/grub/efi.img": Buffer.alloc(65536),
  "EFI/BOOT/BOOTX64.EFI": "efi",
};
const bios = ["-b", "boot/bios.img", "-c", "boot/boot.cat", "-no-emul-boot", "-boot-load-size", "4"];
const uefi = ["-eltorito-alt-boot", "-e", "boot/grub/efi.img", "-no-emul-boot"];
const xorriso = ["xorriso", "-as", "mkisofs", "-quiet"];
const genisoimage = ["genisoimage", "-quiet"];

async function make([program = "", ...leading]: readonly string[], files: Readonly<Record<string, string | Buffer>>, ...args: string[]): Promise<string> {
  run(program, ...leading, "-o", place("made.iso"), ...args, await tree(files));
  return place("made.iso");
}

describe("a CD image made by other programs", () => {
  it.each([["xorriso", xorriso], ["genisoimage", genisoimage]] as const)("is recognised with its system and both firmwares (%s)", async (_, maker) => {
    const iso = await make(maker, debian, "-V", "Anything", "-J", "-r", ...bios, ...uefi);
    expect(await inspectFile(iso)).toMatchObject({ kind: "iso", format: "iso9660", label: "Anything", bootable: true, system: "debian-12-amd64", arch: "x86_64", firmwares: ["bios", "uefi"] });
  });

  it.each([["the BIOS", bios, ["bios"]], ["UEFI alone", ["-e", "boot/grub/efi.img", "-no-emul-boot"], ["uefi"]], ["nothing", [], []]] as const)("tells that it starts by %s", async (_, args, firmwares) => {
    const iso = await make(xorriso, debian, ...args);
    expect(await inspectFile(iso)).toMatchObject({ firmwares, bootable: firmwares.length > 0 });
  });

  const long = "a-name.that_is-much-longer-than-eight-and-three.tar.gz";
  it.each([
    ["Rock Ridge", ["-R"]],
    ["Joliet", ["-J", "-joliet-long"]],
    ["both", ["-J", "-joliet-long", "-R"]],
  ] as const)("is read with the long names of %s", async (_, args) => {
    for (const maker of [xorriso, genisoimage]) {
      const iso = await openIso(await make(maker, { [`deep/er/${long}`]: "found" }, ...args));
      expect((await iso?.list("/deep/er"))?.map((entry) => entry.name), maker[0]).toEqual([long]);
      expect(Buffer.from((await iso?.readFile(`/DEEP/er/${long}`, 100)) ?? []).toString()).toBe("found");
    }
  });

  it("is read with plain names where there are no others", async () => {
    const iso = await openIso(await make(genisoimage, { "README.TXT": "plain", "SUB/KERNEL": "k" }));
    expect(Buffer.from((await iso?.readFile("/readme.txt", 100)) ?? []).toString()).toBe("plain");
    expect(await iso?.find("/sub/kernel")).toMatchObject({ sizeBytes: 1, directory: false });
  });

  it("is read also with so long a name and so many files that both need more than one sector", async () => {
    const name = "n".repeat(240);
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`many/file-number-${index}`, String(index)]));
    const iso = await openIso(await make(xorriso, { [name]: "x", ...many }, "-R"));
    expect(await iso?.find(`/${name}`)).toMatchObject({ sizeBytes: 1 });
    expect(await iso?.list("/many")).toHaveLength(300);
    expect(Buffer.from((await iso?.readFile("/many/file-number-299", 10)) ?? []).toString()).toBe("299");
  });
});

describe("a CD image of our own", () => {
  it("is read by others also with a directory of many sectors", async () => {
    const names = Array.from({ length: 90 }, (_, index) => `file-${"x".repeat(index % 50)}-${index}`);
    await writeFile(place("own.iso"), writeIso({ label: "own", files: names.map((name) => ({ name, content: Buffer.from(name) })) }));
    expect(run("isoinfo", "-R", "-f", "-i", place("own.iso")).trim().split("\n").sort()).toEqual(names.map((name) => `/${name}`).sort());
    expect(run("isoinfo", "-J", "-f", "-i", place("own.iso")).trim().split("\n").sort()).toEqual(names.map((name) => `/${name};1`).sort());
    run("xorriso", "-indev", place("own.iso"), "-osirrox", "on", "-extract", "/", place("out"));
    for (const name of names) expect(readFileSync(join(place("out"), name), "utf8")).toBe(name);
  });
});

describe("the seed of a cloud image", () => {
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Qx3vT9v8yH3sVQw8cR0pQm3kq1vF0mCwJ7z6o0o8k anna@home";
  const seed = (): Buffer => seedImage({ hostname: "web", instanceId: "id-1", user: "anna", passwordHash: hashPassword("geheim", "salt"), authorizedKeys: [key], adapters: ["52:54:00:00:00:01"], time: Date.UTC(2026, 0, 2, 3, 4, 5) });
  const names = ["meta-data", "network-config", "user-data"];

  it("is a CD image with the label and the names cloud-init looks for, as others read it", async () => {
    await writeFile(place("seed.iso"), seed());
    expect(run("isoinfo", "-d", "-i", place("seed.iso"))).toMatch(/Volume id: cidata\n[^]*Joliet with UCS level 3 found\nRock Ridge signatures version 1 found/);
    expect(run("isoinfo", "-R", "-f", "-i", place("seed.iso")).trim().split("\n").sort()).toEqual(names.map((name) => `/${name}`));
    expect(run("isoinfo", "-J", "-f", "-i", place("seed.iso")).trim().split("\n").sort()).toEqual(names.map((name) => `/${name};1`));
    expect(run("blkid", "-p", "-o", "export", place("seed.iso"))).toMatch(/LABEL=cidata\n[^]*TYPE=iso9660/);
    run("xorriso", "-indev", place("seed.iso"), "-osirrox", "on", "-extract", "/", place("out"));
    for (const name of names) expect(readFileSync(join(place("out"), name), "utf8"), name).toBe(run("isoinfo", "-R", "-x", `/${name}`, "-i", place("seed.iso")));
    expect(readFileSync(join(place("out"), "user-data"), "utf8")).toContain(JSON.stringify(key));
    expect(await inspectFile(place("seed.iso"))).toMatchObject({ kind: "iso", label: "cidata", firmwares: [] });
  });

  it("holds the password as OpenSSL hashes it", () => {
    for (const password of ["geheim", "pässwörd 🔑", "x".repeat(200)]) expect(hashPassword(password, "saltstring")).toBe(execFileSync("openssl", ["passwd", "-6", "-salt", "saltstring", "-stdin"], { input: `${password}\n`, encoding: "utf8" }).trim());
  });
});
