import { mkdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { GiB, MiB } from "../../../core/base/bytes";
import { TerrariumError } from "../../../core/contract/errors";
import { MachineSpec, type EngineInfo, type MachineConfig, type MachineSpecInput } from "../../../core/contract/model";
import { EngineTable } from "../../../core/engine/engine";
import { qemuEngine } from "../../../core/engine/qemu";
import { v86Engine, v86Info } from "../../../core/engine/v86Argv";
import { checkPatch, checkSpec, checkStart, firstError, type CheckContext, type CheckFinding } from "../../../core/machine/checks";
import type { RegisteredMachine } from "../../../core/machine/registry";
import { readStarter } from "../../../core/machine/starter";
import { noQemu } from "../../support/host";
import { makeGuestDirectory } from "../../support/guestDirectory";
import { cpioArchive, isoImage, kernelImage, mbrDisk, qcow2Image } from "../../support/images";
import { makeConfig, oneDisk } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const place = (name: string): string => join(folder.path, name);
const engines = new EngineTable(v86Engine({ node: "node", env: {}, emulator: "emulator.cjs", codeCache: "cache" }), qemuEngine(noQemu));
const qemuInfo = qemuEngine(noQemu).info;
let context: CheckContext;

beforeEach(async () => {
  await makeGuestDirectory(place("guest"), 20);
  context = {
    facts: { platform: "linux", cpus: 4, memoryTotalMiB: 1500, memoryAvailableMiB: 1000, diskFreeBytes: 10 * GiB, diskTotalBytes: 20 * GiB },
    machines: [],
    canConvert: false,
    starter: await readStarter(place("guest")),
    networkModes: [
      { mode: "none", available: true },
      { mode: "internal", available: true },
      { mode: "host-only", available: true },
      { mode: "bridged", available: false, reason: "It comes with a later version." },
    ],
    networks: [{ name: "desk", mode: "host-only", subnet: "192.168.56.0/24", dhcp: { enabled: true, reservations: [] } }],
    beyondBuiltIn: (machine) => engines.beyondBuiltIn(machine),
    resolveEngine: (machine): EngineInfo => engines.resolve(machine).info,
  };
});

function machineOf(config: MachineConfig, name = config.name): RegisteredMachine & { config: MachineConfig } {
  return { id: config.id, folder: place(`machines-${config.id}`), folderName: name, name, config };
}

const check = (patch: Partial<MachineSpecInput>): Promise<CheckFinding[]> => checkSpec(MachineSpec.parse({ name: "web", memoryMiB: 128, boot: { kind: "starter" }, ...patch }), context);

async function expectFinding(patch: Partial<MachineSpecInput>, field: string, code: string, level = "error"): Promise<CheckFinding> {
  const findings = await check(patch);
  const finding = findings.find((candidate) => candidate.field === field);
  expect(finding, JSON.stringify(findings)).toMatchObject({ field, code, level });
  expect(finding?.remedy).toBeTruthy();
  expect(firstError(findings) instanceof TerrariumError).toBe(level === "error");
  if (!finding) throw new Error("no finding");
  return finding;
}

describe("checkSpec", () => {
  it("has nothing to say about a machine that fits", async () => {
    await writeFile(place("cd.iso"), isoImage());
    await writeFile(place("disk.img"), mbrDisk());
    expect(await check({})).toEqual([]);
    expect(await check({ disks: [{ sizeBytes: GiB }, { image: place("disk.img"), mode: "copy" }], medium: place("cd.iso"), adapters: [{ attachment: { mode: "internal", network: "lab" } }] })).toEqual([]);
  });

  it("names the machine that has the name already", async () => {
    context = { ...context, machines: [machineOf(makeConfig({ name: "Wéb" }))] };
    expect((await expectFinding({ name: "WE\u0301B" }, "name", "name-taken")).message).toContain('"Wéb"');
  });

  it("finds memory that the host, the engine or the guest cannot do with", async () => {
    expect((await expectFinding({ memoryMiB: 1501 }, "memoryMiB", "insufficient-resources")).message).toContain("1.5 GB");
    await expectFinding({ memoryMiB: 4096, engine: "v86" }, "memoryMiB", "unsupported");
    await expectFinding({ memoryMiB: 8 }, "memoryMiB", "invalid-input");
    expect((await expectFinding({ memoryMiB: 80 }, "memoryMiB", "invalid-input")).message).toContain("84 MB");
    await expectFinding({ memoryMiB: 1200 }, "memoryMiB", "insufficient-resources", "warning");
  });

  it("finds processors that the engine does not have", async () => {
    await expectFinding({ cpus: 2, engine: "v86" }, "cpus", "unsupported");
  });

  it("says what takes an engine that is not there", async () => {
    const { message, remedy } = await expectFinding({ cpus: 2, hardware: { firmware: "uefi" } }, "engine", "unavailable");
    expect(message).toBe("The machine has 2 processors and UEFI firmware, which takes QEMU. QEMU is not installed on this computer.");
    expect(remedy).toBe("Install it.");
  });

  it("finds settings that the engine has nothing for, and a topology that does not add up", async () => {
    await expectFinding({ engine: "v86", adapters: [{ attachment: { mode: "none" }, model: "e1000" }] }, "adapters.0", "unsupported");
    context = { ...context, resolveEngine: () => ({ ...qemuInfo, available: true }) };
    await expectFinding({ cpus: 3, hardware: { topology: { sockets: 1, cores: 2, threads: 1 } } }, "hardware.topology", "invalid-input");
    await expectFinding({ hardware: { extraArguments: ["-device", "edu", "-netdev", "user,id=x"] } }, "hardware.extraArguments", "invalid-input");
    const { message, remedy } = await expectFinding({ memoryMiB: 48, hardware: { firmware: "uefi" }, boot: { kind: "firmware", order: "cd" } }, "memoryMiB", "invalid-input");
    expect([message, remedy]).toEqual([expect.stringContaining("UEFI"), expect.stringContaining("64 MB")]);
    await expectFinding({ hardware: { cpuModel: "help" } }, "hardware.cpuModel", "invalid-input");
  });

  it("warns of more processors than the host has", async () => {
    context = { ...context, resolveEngine: () => ({ ...v86Info, capabilities: { ...v86Info.capabilities, maxCpus: 64 } }) };
    await expectFinding({ cpus: 5 }, "cpus", "insufficient-resources", "warning");
  });

  it("warns of a login that nobody can reach", async () => {
    context = { ...context, resolveEngine: () => ({ ...qemuInfo, available: true }) };
    const seed = { user: "me", authorizedKeys: ["ssh-ed25519 AAAA"] };
    await expectFinding({ seed }, "seed", "invalid-input", "warning");
    await expectFinding({ seed, adapters: [{ attachment: { mode: "none" } }, { attachment: { mode: "internal", network: "lab" }, plugged: false }] }, "seed", "invalid-input", "warning");
    const fields = async (patch: Partial<MachineSpecInput>): Promise<string[]> => (await check(patch)).map(({ field }) => field);
    expect(await fields({ seed: { ...seed, password: "secret" } })).not.toContain("seed");
    expect(await fields({ seed, adapters: [{ attachment: { mode: "internal", network: "lab" } }] })).not.toContain("seed");
  });

  it("finds an engine that is not available", async () => {
    expect((await expectFinding({ engine: "qemu" }, "engine", "unavailable")).message).toBe(qemuInfo.problem?.message);
  });

  it("finds a copy that would have to be shorter than its image", async () => {
    await writeFile(place("disk.img"), mbrDisk());
    const { message } = await expectFinding({ disks: [{ image: place("disk.img"), mode: "copy", growTo: MiB / 2 }] }, "disks.0", "invalid-input");
    expect(message).toContain("has 1 MB; it cannot be made 512 KB long");
    expect(await check({ disks: [{ image: place("disk.img"), mode: "copy", growTo: MiB }] })).toEqual([]);
  });

  it("finds disks that the host has no room for", async () => {
    await expectFinding({ disks: [{ sizeBytes: GiB }, { sizeBytes: 21 * GiB }] }, "disks.1", "insufficient-resources");
    await expectFinding({ disks: [{ sizeBytes: 15 * GiB }] }, "disks.0", "disk-full", "warning");
    await writeFile(place("disk.img"), Buffer.concat([mbrDisk(512), Buffer.alloc(65_536, 1)]));
    await expectFinding({ disks: [{ image: place("disk.img"), mode: "copy", growTo: 15 * GiB }] }, "disks.0", "disk-full", "warning");
    await expectFinding({ disks: [{ image: place("disk.img"), mode: "copy", growTo: 25 * GiB }] }, "disks.0", "insufficient-resources");
    context = { ...context, facts: { ...context.facts, diskFreeBytes: 1000 } };
    await expectFinding({ disks: [{ image: place("disk.img"), mode: "copy" }] }, "disks", "disk-full");
  });

  it.each<[string, () => Promise<unknown>]>([
    ["missing", () => Promise.resolve()],
    ["empty", () => writeFile(place("image"), "")],
    ["a folder", () => mkdir(place("image"))],
    ["a picture", () => writeFile(place("image"), "\x89PNG\r\n".padEnd(1024), "latin1")],
    ["a text", () => writeFile(place("image"), "hello")],
  ])("refuses an image that is %s, wherever one is wanted", async (_, make) => {
    await make();
    const path = place("image");
    await expectFinding({ disks: [{ image: path, mode: "copy" }] }, "disks.0", "image-unusable");
    await expectFinding({ medium: path }, "medium", "image-unusable");
    await expectFinding({ boot: { kind: "kernel", kernel: path, cmdline: "" } }, "boot", "image-unusable");
    await writeFile(place("vmlinuz"), kernelImage());
    await expectFinding({ boot: { kind: "kernel", kernel: place("vmlinuz"), initrd: path, cmdline: "" } }, "boot", "image-unusable");
  });

  it("sends an image to where it belongs", async () => {
    await writeFile(place("cd.iso"), isoImage());
    await writeFile(place("disk.qcow2"), qcow2Image());
    expect((await expectFinding({ disks: [{ image: place("cd.iso"), mode: "copy" }] }, "disks.0", "image-unusable")).remedy).toContain("CD drive");
    expect((await expectFinding({ disks: [{ image: place("disk.qcow2"), mode: "link" }] }, "disks.0", "image-unusable")).remedy).toContain("qemu-img");
  });

  it("refuses a 64-bit kernel on an engine for 32-bit guests", async () => {
    await writeFile(place("vmlinuz"), kernelImage({ is64Bit: true }));
    await writeFile(place("initrd"), cpioArchive());
    expect((await expectFinding({ boot: { kind: "kernel", kernel: place("vmlinuz"), initrd: place("initrd"), cmdline: "" } }, "boot", "image-unusable")).message).toContain("64-bit");
  });

  it("refuses to let two machines write to one image, by whatever path", async () => {
    await writeFile(place("disk.img"), mbrDisk());
    await symlink(place("disk.img"), place("other-name.img"));
    const user = machineOf(makeConfig({ name: "db", disks: [{ id: "disk0", sizeBytes: 512, layers: [{ file: place("disk.img"), format: "raw" }] }] }));
    await expectFinding({ disks: [{ image: place("disk.img"), mode: "link" }, { image: place("other-name.img"), mode: "link" }] }, "disks.1", "locked");
    context = { ...context, machines: [user] };
    expect((await expectFinding({ disks: [{ image: place("other-name.img"), mode: "link" }] }, "disks.0", "locked")).message).toContain('"db"');
    expect(firstError(await check({ disks: [{ image: place("other-name.img"), mode: "copy" }] }))).toBeUndefined();
  });

  it("says what is missing when there is no starter guest", async () => {
    context = { ...context, starter: await readStarter(place("nowhere")) };
    expect((await expectFinding({}, "boot", "unavailable")).remedy).toContain("npm start");
  });

  it("finds network modes that cannot be used, and networks without a name", async () => {
    expect((await expectFinding({ adapters: [{ attachment: { mode: "bridged", network: "eth0" } }] }, "adapters.0", "unavailable")).message).toContain("later version");
    await expectFinding({ adapters: [{ attachment: { mode: "none" } }, { attachment: { mode: "internal" } }] }, "adapters.1", "invalid-input");
    const mac = "52:54:00:aa:bb:cc";
    await expectFinding({ adapters: [{ attachment: { mode: "none" }, mac }, { attachment: { mode: "none" }, mac }] }, "adapters.1", "invalid-input");
  });

  it("finds networks that are not there or are of another kind; an internal one may come to be", async () => {
    expect((await expectFinding({ adapters: [{ attachment: { mode: "host-only", network: "attic" } }] }, "adapters.0", "not-found")).remedy).toBe("There are: desk.");
    expect((await expectFinding({ adapters: [{ attachment: { mode: "internal", network: "desk" } }] }, "adapters.0", "invalid-input")).remedy).toContain("host-only:desk");
    await expectFinding({ adapters: [{ attachment: { mode: "internal", network: "a:b" } }] }, "adapters.0", "invalid-input");
    expect(await check({ disks: [{ sizeBytes: 512 }], adapters: [{ attachment: { mode: "internal", network: "new" } }, { attachment: { mode: "host-only", network: "Desk" } }] })).toEqual([]);
  });

  it("warns of a machine that has nothing to start from", async () => {
    await expectFinding({ boot: { kind: "firmware", order: "disk" } }, "boot", "invalid-input", "warning");
  });
});

describe("checkPatch", () => {
  it("looks only at what changes", async () => {
    const machine = machineOf(makeConfig({ memoryMiB: 100_000, adapters: [] }));
    expect(await checkPatch(machine, { notes: "x" }, context)).toEqual([]);
    expect(await checkPatch(machine, { name: machine.name.toUpperCase() }, { ...context, machines: [machine] })).toEqual([]);
    expect(await checkPatch(machine, { memoryMiB: 200_000 }, context)).toContainEqual(expect.objectContaining({ field: "memoryMiB", level: "error" }));
  });

  it("checks disks that are added and removed", async () => {
    const machine = machineOf(makeConfig({ disks: oneDisk }));
    expect(await checkPatch(machine, { disks: [{ id: "disk3", limits: { bytesPerSecond: 4096 } }] }, context)).toMatchObject([{ field: "disks", code: "not-found", message: expect.stringContaining("disk3") as string }]);
    expect(await checkPatch(machine, { removeDisks: ["disk1"] }, context)).toMatchObject([{ field: "disks", code: "not-found", remedy: expect.stringContaining("disk0") as string }]);
    expect(await checkPatch(machine, { addDisks: Array.from({ length: 4 }, () => ({ sizeBytes: 512 })) }, context)).toMatchObject([{ field: "disks", code: "unsupported" }]);
    expect(await checkPatch(machine, { addDisks: [{ image: "/nowhere", mode: "copy" }], medium: "/nowhere" }, context)).toMatchObject([{ field: "disks.0" }, { field: "medium" }]);
  });
});

describe("checkStart", () => {
  let machine: RegisteredMachine & { config: MachineConfig };

  beforeEach(async () => {
    machine = machineOf(makeConfig({ disks: oneDisk }));
    await mkdir(join(machine.folder, "disks", "disk0"), { recursive: true });
    await writeFile(join(machine.folder, "disks", "disk0", "0.raw"), Buffer.alloc(4096));
    context = { ...context, machines: [machine] };
  });

  const disk = (): string => join(machine.folder, "disks", "disk0", "0.raw");

  it("has nothing to say when all is there", async () => {
    expect(await checkStart(machine, context)).toEqual([]);
  });

  it("refuses more memory than is free now", async () => {
    const findings = await checkStart(machine, { ...context, facts: { ...context.facts, memoryAvailableMiB: 100 } });
    expect(findings).toMatchObject([{ field: "memoryMiB", level: "error", code: "insufficient-resources", message: expect.stringContaining("100 MB free") as string }]);
  });

  it("finds a disk's file that is missing, cut short or a folder", async () => {
    await truncate(disk(), 1024);
    expect(await checkStart(machine, context)).toMatchObject([{ field: "disks.0", level: "error", message: expect.stringContaining("A part of it is missing") as string }]);
    await rm(disk());
    expect(await checkStart(machine, context)).toMatchObject([{ field: "disks.0", code: "image-unusable", message: expect.stringContaining("is missing") as string }]);
    await mkdir(disk());
    expect(await checkStart(machine, context)).toMatchObject([{ field: "disks.0", message: expect.stringContaining("not a file") as string }]);
  });

  it("finds a QCOW2 disk that has come to lead to other files, or is none any more", async () => {
    const image = join(machine.folder, "disks", "disk0", "0.qcow2");
    machine = { ...machine, config: { ...machine.config, engine: "qemu", disks: [{ id: "disk0", sizeBytes: 4096, layers: [{ file: "disks/disk0/0.qcow2", format: "qcow2" }] }] } };
    context = { ...context, machines: [machine], resolveEngine: () => ({ ...qemuInfo, available: true }) };
    const header = qcow2Image();
    await writeFile(image, header);
    expect(await checkStart(machine, context)).toEqual([]);
    const elsewhere = Buffer.from(header);
    elsewhere.writeBigUInt64BE(4n, 72); // qcow2 spec, incompatible features: an external data file
    await writeFile(image, elsewhere);
    expect(await checkStart(machine, context)).toMatchObject([{ field: "disks.0", code: "image-unusable", message: expect.stringContaining("keeps its data in another file") as string }]);
    await writeFile(image, Buffer.alloc(header.length));
    expect(await checkStart(machine, context)).toMatchObject([{ field: "disks.0", code: "image-unusable", message: expect.stringContaining("was a QCOW2 image") as string }]);
  });

  it("finds a disk that another machine has as well", async () => {
    const other = machineOf(makeConfig({ name: "db", disks: [{ id: "disk0", sizeBytes: 4096, layers: [{ file: disk(), format: "raw" }] }] }));
    expect(await checkStart(machine, { ...context, machines: [machine, other] })).toMatchObject([{ field: "disks.0", code: "locked", message: expect.stringContaining('"db"') as string }]);
  });

  it("finds a medium that is gone, and says how to take it out", async () => {
    machine = { ...machine, config: { ...machine.config, drives: [{ id: "cd0", medium: "/gone.iso" }] } };
    expect(await checkStart(machine, context)).toMatchObject([{ field: "medium", level: "error", remedy: expect.stringContaining("medium=") as string }]);
  });

  it("warns of a disk of the host that is nearly full", async () => {
    expect(await checkStart(machine, { ...context, facts: { ...context.facts, diskFreeBytes: 1024 } })).toMatchObject([{ level: "warning", code: "disk-full" }]);
  });
});
