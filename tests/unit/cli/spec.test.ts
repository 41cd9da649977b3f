import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { GiB } from "../../../core/base/bytes";
import { patchFrom, specFrom } from "../../../core/cli/spec";
import { UsageError } from "../../../core/cli/verb";
import { MachinePatch, MachineSpec, type GuestSystem, type MachineConfig } from "../../../core/contract/model";

const config: MachineConfig = {
  version: 1,
  id: "01234567-89ab-4cde-8f01-23456789abcd",
  name: "web",
  createdAt: 0,
  engine: "auto",
  memoryMiB: 256,
  cpus: 1,
  boot: { kind: "kernel", kernel: "/boot/vmlinuz", initrd: "/boot/initrd", cmdline: "quiet" },
  disks: [],
  drives: [{ id: "cd0", medium: null }],
  adapters: [{ mac: "52:54:00:00:00:01", attachment: { mode: "none" }, plugged: false }],
};

const windows: GuestSystem = { id: "windows-11", label: "Windows 11", group: "Windows", arch: "x86_64", memoryMiB: 4096, cpus: 2, diskBytes: 64 * GiB, firmware: "uefi", diskBus: "sata", adapterModel: "e1000", clock: "local" };

describe("what create is told", () => {
  it("is the starter guest with a disk for its data when nothing is said", () => {
    const spec = specFrom("web", {});
    expect(spec).toMatchObject({ name: "web", engine: "auto", memoryMiB: 256, cpus: 1, boot: { kind: "starter" }, disks: [{ sizeBytes: 2 * GiB }], adapters: [{ attachment: { mode: "nat" }, plugged: true }] });
    expect(MachineSpec.safeParse(spec).success).toBe(true);
    expect(specFrom("web", { "no-disk": true }).disks).toEqual([]);
    expect(specFrom("web", { disk: ["1G"] }).disks).toEqual([{ sizeBytes: GiB }]);
  });

  it("boots what it is given, by absolute paths", () => {
    expect(specFrom("a", { iso: "debian.iso" })).toMatchObject({ boot: { kind: "firmware", order: "cd" }, medium: resolve("debian.iso"), disks: [] });
    expect(specFrom("a", { "disk-image": ["x.img"], disk: ["1G"] })).toMatchObject({ boot: { kind: "firmware", order: "disk" }, disks: [{ image: resolve("x.img"), mode: "copy" }, { sizeBytes: GiB }] });
    expect(specFrom("a", { "link-image": ["x.img"] })).toMatchObject({ disks: [{ image: resolve("x.img"), mode: "link" }] });
    expect(specFrom("a", { kernel: "k", initrd: "i", cmdline: "s" })).toMatchObject({ boot: { kind: "kernel", kernel: resolve("k"), initrd: resolve("i"), cmdline: "s" } });
    expect(specFrom("a", { iso: "debian.iso", template: "starter" })).toMatchObject({ boot: { kind: "starter" }, medium: resolve("debian.iso") });
  });

  it("names networks after a colon", () => {
    expect(specFrom("a", { net: ["nat", "internal:lab", "bridged:eth0"] }).adapters).toEqual([
      { attachment: { mode: "nat" }, plugged: true },
      { attachment: { mode: "internal", network: "lab" }, plugged: true },
      { attachment: { mode: "bridged", network: "eth0" }, plugged: true },
    ]);
  });

  it("reads a bare number of memory as megabytes", () => {
    expect(specFrom("a", { memory: "512" }).memoryMiB).toBe(512);
    expect(specFrom("a", { memory: "2G" }).memoryMiB).toBe(2048);
  });

  it("takes what suits the system from the table, and what was typed before that", () => {
    const findings = { system: windows, image: { path: "/w.iso", kind: "iso" as const, format: "udf", sizeBytes: 1, firmwares: ["bios" as const, "uefi" as const] } };
    const spec = specFrom("w", { iso: "w.iso", disk: ["40G"], cpus: "1" }, findings);
    expect(spec).toMatchObject({ system: "windows-11", arch: "x86_64", memoryMiB: 4096, cpus: 1, hardware: { firmware: "uefi", clock: "local" }, disks: [{ sizeBytes: 40 * GiB, bus: "sata" }], adapters: [{ model: "e1000" }] });
    expect(MachineSpec.safeParse(spec).success).toBe(true);
    expect(specFrom("w", { iso: "w.iso", firmware: "bios" }, findings).hardware).toEqual({ clock: "local" });
    // A disc that starts by BIOS alone is not given UEFI, whatever its system usually has.
    expect(specFrom("w", { iso: "w.iso" }, { ...findings, image: { ...findings.image, firmwares: ["bios"] } }).hardware).toEqual({ clock: "local" });
  });

  it("prepares the first login of a cloud image, and makes its copy longer", () => {
    const spec = specFrom("c", { "disk-image": ["c.qcow2"], grow: "10G", user: "ada", hostname: "c1", package: ["nginx", "git"] }, { password: "secret", authorizedKeys: ["ssh-ed25519 AAAA"] });
    expect(spec).toMatchObject({ disks: [{ mode: "copy", growTo: 10 * GiB }], seed: { user: "ada", password: "secret", authorizedKeys: ["ssh-ed25519 AAAA"], hostname: "c1", packages: ["nginx", "git"] } });
    expect(() => specFrom("c", { "disk-image": ["c.qcow2"], user: "ada" })).toThrow(/nobody could log in/);
    expect(() => specFrom("c", { "disk-image": ["c.qcow2"] }, { password: "secret" })).toThrow(/--user/);
    expect(() => specFrom("c", { grow: "10G" })).toThrow(/--disk-image/);
  });

  it.each([
    [{ memory: "lots" }],
    [{ memory: "1.0001M" }],
    [{ memory: "-5" }],
    [{ cpus: "0" }],
    [{ cpus: "two" }],
    [{ disk: ["0"] }],
    [{ disk: ["big"] }],
    [{ engine: "kvm" }],
    [{ firmware: "openboot" }],
    [{ template: "windows" }],
    [{ template: "starter", kernel: "k" }],
    [{ initrd: "i" }],
    [{ cmdline: "s" }],
    [{ net: ["wifi"] }],
    [{ net: ["internal"] }],
    [{ net: ["nat:x"] }],
    [{ "no-disk": true, disk: ["1G"] }],
  ])("is refused when it makes no sense: %j", (options) => {
    expect(() => specFrom("a", options)).toThrow(UsageError);
  });
});

describe("what set is told", () => {
  it("becomes a change of what is named and of nothing else", () => {
    const patch = patchFrom(["name=db", "memory=512M", "cpus=2", "engine=v86", "group=", "notes=a=b", "iso="], config);
    expect(patch).toEqual({ name: "db", memoryMiB: 512, cpus: 2, engine: "v86", group: null, notes: "a=b", medium: null });
    expect(MachinePatch.safeParse(patch).success).toBe(true);
  });

  it("changes one part of a kernel's start and keeps the others", () => {
    expect(patchFrom(["cmdline=debug"], config).boot).toEqual({ kind: "kernel", kernel: "/boot/vmlinuz", initrd: "/boot/initrd", cmdline: "debug" });
    expect(patchFrom(["initrd="], config).boot).toEqual({ kind: "kernel", kernel: "/boot/vmlinuz", cmdline: "quiet" });
  });

  it("keeps an adapter's address, and gives a new one its own", () => {
    const { adapters } = patchFrom(["net0=nat", "net1=internal:lab"], config);
    expect(adapters?.[0]).toEqual({ mac: "52:54:00:00:00:01", attachment: { mode: "nat" }, plugged: true });
    expect(adapters?.[1]).toMatchObject({ attachment: { mode: "internal", network: "lab" }, plugged: true });
    expect(MachinePatch.safeParse({ adapters }).success).toBe(true);
  });

  it("changes one part of the hardware and keeps the others", () => {
    const before = { ...config, hardware: { machineVersion: "7.2", cpuModel: "qemu64" } };
    expect(patchFrom(["firmware=uefi", "chipset=pc", "clock=local"], before).hardware).toEqual({ machineVersion: "7.2", cpuModel: "qemu64", firmware: "uefi", chipset: "pc", clock: "local" });
    expect(patchFrom(["cpu-model="], before).hardware).toEqual({ machineVersion: "7.2" });
    expect(patchFrom(["extra=-global x=y"], before).hardware).toMatchObject({ extraArguments: ["-global", "x=y"] });
    expect(patchFrom(["extra="], { ...config, hardware: { extraArguments: ["-x"] } }).hardware).toEqual({});
  });

  it("holds disks back and lets them go, one limit at a time", () => {
    const before = { ...config, disks: [{ id: "disk0", sizeBytes: 512, layers: [{ file: "a", format: "raw" as const }], limits: { bytesPerSecond: 1024, operationsPerSecond: 10 } }] };
    expect(patchFrom(["limit0=2M"], before).disks).toEqual([{ id: "disk0", limits: { bytesPerSecond: 2 * 1024 * 1024, operationsPerSecond: 10 } }]);
    expect(patchFrom(["limit0=", "iops0=", "bus0=sata"], before).disks).toEqual([{ id: "disk0", limits: null, bus: "sata" }]);
    expect(MachinePatch.safeParse(patchFrom(["iops0=100", "limit1=1M"], before)).success).toBe(true);
  });

  it("changes an adapter's model and nothing else of it", () => {
    expect(patchFrom(["nic0=e1000"], config).adapters).toEqual([{ ...config.adapters[0], model: "e1000" }]);
    expect(patchFrom(["net0=nat", "nic0=e1000"], config).adapters?.[0]).toMatchObject({ model: "e1000", attachment: { mode: "nat" } });
    expect(() => patchFrom(["nic1=e1000"], config)).toThrow(/1 adapters/);
  });

  it.each([[["memory"]], [["bus0=ide"]], [["limit0=fast"]], [["=5"]], [["colour=red"]], [["net3=nat"]], [["boot=starter", "cmdline=x"]], [["boot=floppy"]]])("is refused when it makes no sense: %j", (words) => {
    expect(() => patchFrom(words, config)).toThrow(UsageError);
  });
});
