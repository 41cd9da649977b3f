import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { GiB } from "../../../core/base/bytes";
import { patchFrom, specFrom } from "../../../core/cli/spec";
import { UsageError } from "../../../core/cli/verb";
import { MachinePatch, MachineSpec, type MachineConfig } from "../../../core/contract/model";

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

describe("what create is told", () => {
  it("is the starter guest with a disk for its data when nothing is said", () => {
    const spec = specFrom("web", {});
    expect(spec).toMatchObject({ name: "web", engine: "auto", memoryMiB: 256, cpus: 1, boot: { kind: "starter" }, disks: [{ sizeBytes: 2 * GiB }], adapters: [{ attachment: { mode: "none" }, plugged: false }] });
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

  it.each([
    [{ memory: "lots" }],
    [{ memory: "1.0001M" }],
    [{ memory: "-5" }],
    [{ cpus: "0" }],
    [{ cpus: "two" }],
    [{ disk: ["0"] }],
    [{ disk: ["big"] }],
    [{ engine: "kvm" }],
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

  it.each([[["memory"]], [["=5"]], [["colour=red"]], [["net3=nat"]], [["boot=starter", "cmdline=x"]], [["boot=floppy"]]])("is refused when it makes no sense: %j", (words) => {
    expect(() => patchFrom(words, config)).toThrow(UsageError);
  });
});
