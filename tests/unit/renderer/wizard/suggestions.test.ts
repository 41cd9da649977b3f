import { describe, expect, it } from "vitest";
import type { FileInspection, GuestSystem, HostInfo } from "../../../../core/contract/model";
import type { Around, Draft } from "../../../../renderer/features/wizard/answers";
import { answered, convertedTo, isFilledIn, needsOf, newDraft, toSpec, withInspection, withPath, withSource, withSuggestions } from "../../../../renderer/features/wizard/draft";
import { archOf, imageBytes, nameFromPath } from "../../../../renderer/features/wizard/suggestions";
import { describeFile, describeRecognised, facts, furtherFacts } from "../../../../renderer/features/wizard/words";
import { absentEngine, builtInEngine, fakeHost, fakeSystems, qemuEngine } from "../../../support/fakeDesktop";

const GiB = 1024 ** 3;

function around(part: Partial<HostInfo> = {}, systems: readonly GuestSystem[] = fakeSystems): Around {
  return { machines: [], systems, host: { ...fakeHost, engines: [builtInEngine, qemuEngine], ...part } };
}

const full = around();
const withoutQemu = around({ engines: [builtInEngine, absentEngine] });

function chosen(source: "iso" | "disk" | "kernel", path: string, found: Partial<FileInspection>, where: Around = full): Draft {
  const draft = withSuggestions(withPath(newDraft(source, where), path), where);
  return withSuggestions(withInspection(draft, { path, kind: "unknown", format: "unknown", sizeBytes: 512, ...found }), where);
}

describe("what the wizard suggests", () => {
  it("is no more processors than this computer has", () => {
    expect(chosen("iso", "/d.iso", { kind: "iso", system: "debian-12-amd64" }, around({ cpus: 1 })).cpus).toBe(1);
  });

  it("is a clock in local time only where an engine has one", () => {
    expect(chosen("iso", "/w.iso", { kind: "iso", system: "windows-11-amd64" }).clock).toBe("local");
    expect(chosen("iso", "/w.iso", { kind: "iso", system: "windows-11-amd64" }, withoutQemu).clock).toBe("utc");
  });

  it("is no disk for a system that needs none", () => {
    const live: GuestSystem = { ...fakeSystems[0]!, id: "live-amd64", diskBytes: 0 };
    expect(chosen("iso", "/l.iso", { kind: "iso", system: "live-amd64" }, around({}, [live, ...fakeSystems])).diskBytes).toBeNull();
  });

  it("is what the engine can give that the person has chosen", () => {
    const draft = withSuggestions({ ...chosen("iso", "/d.iso", { kind: "iso", system: "debian-12-i386" }), engine: "v86" }, full);
    expect(draft).toMatchObject({ cpus: 1, memoryMiB: 2047 });
  });

  it("takes for a kernel the processor that the kernel is for, whatever system was chosen for another source", () => {
    const draft = answered(chosen("kernel", "/vmlinuz", { kind: "kernel", format: "bzImage", arch: "x86_64" }), { system: "debian-12-i386" });
    expect(archOf(draft, fakeSystems)).toBe("x86_64");
  });

  it("grows the copy of a cloud image to 10 GB at least, also for a system that asks for less", () => {
    const small: GuestSystem = { ...fakeSystems[1]!, id: "small-amd64", diskBytes: 4 * GiB };
    const where = around({}, [small, ...fakeSystems]);
    expect(chosen("disk", "/x-cloudimg.img", { kind: "disk", format: "qcow2", system: "small-amd64", virtualBytes: 2 * GiB }, where).growTo).toBe(10 * GiB);
  });

  it("takes the file's length for that of the disk in it only where nothing else is known and it may be one", () => {
    expect(imageBytes(chosen("disk", "/a", { kind: "disk", format: "raw", sizeBytes: 700 }))).toBe(700);
    expect(imageBytes(chosen("disk", "/a", { kind: "unknown", format: "unknown", sizeBytes: 700 }))).toBe(700);
    expect(imageBytes(chosen("disk", "/a", { kind: "disk", format: "vmdk", sizeBytes: 700 }))).toBe(0);
    expect(imageBytes(chosen("disk", "/a", { kind: "disk", format: "qcow2", sizeBytes: 700, virtualBytes: 2 * GiB }))).toBe(2 * GiB);
  });

  it("is a name of at most 60 characters", () => {
    expect(nameFromPath(`/isos/${"x".repeat(100)}.iso`)).toBe("x".repeat(60));
  });
});

describe("what is asked of the host service", () => {
  it("holds the RAM disk of a kernel that has one", () => {
    const draft = { ...chosen("kernel", "/vmlinuz", { kind: "kernel", format: "bzImage" }), initrd: "/initrd.img" };
    expect(toSpec(draft, fakeSystems).boot).toEqual({ kind: "kernel", kernel: "/vmlinuz", initrd: "/initrd.img", cmdline: "console=tty0 console=ttyS0" });
    expect(isFilledIn({ ...newDraft("kernel", full), initrd: "/initrd.img" })).toBe(true);
  });

  it("holds a first login for disk images only", () => {
    const draft = { ...chosen("iso", "/d.iso", { kind: "iso", system: "debian-12-amd64" }), login: "cloud-init" as const, password: "x", user: "ada" };
    expect(toSpec(draft, fakeSystems)).not.toHaveProperty("seed");
    expect(needsOf({ ...draft, source: "disk", image: "/d.img" }, fakeSystems).seed).toBe("seed");
    expect(needsOf(draft, fakeSystems).seed).toBeUndefined();
  });

  it("forgets the disks and cards that were chosen for another source", () => {
    const draft = answered(newDraft("iso", full), { diskBus: "scsi", adapterModel: "e1000", diskBytes: 5 * GiB, name: "mine" });
    expect(withSuggestions(withSource(draft, "starter"), full)).toMatchObject({ diskBus: "virtio", adapterModel: "virtio", diskBytes: 2 * GiB, name: "mine" });
  });

  it("converts nothing that is no disk, or has not been looked at", () => {
    expect(convertedTo(chosen("disk", "/a", { kind: "iso", format: "iso9660" }), qemuEngine)).toBeUndefined();
    expect(convertedTo(withPath(newDraft("disk", full), "/a"), qemuEngine)).toBeUndefined();
  });
});

describe("the wizard's words for", () => {
  const file = { path: "/d", format: "iso9660", sizeBytes: 300 * 1024 ** 2 };

  it("a disc say that it cannot be started, and nothing where nobody knows", () => {
    expect(describeRecognised({ ...file, kind: "iso", bootable: false }, fakeSystems[1]!)).toBe("Debian 12 installation disc, 64-bit, not bootable");
    expect(describeRecognised({ ...file, kind: "iso", bootable: true }, fakeSystems[1]!)).toBe("Debian 12 installation disc, 64-bit");
  });

  it("a file say the processor of a kernel, and of nothing else", () => {
    expect(describeFile({ ...file, kind: "kernel", format: "bzImage", arch: "x86_64" })).toBe("bzImage, 64-bit, 300 MB");
    expect(describeFile({ ...file, kind: "disk", format: "raw", arch: "x86_64" })).toBe("raw, 300 MB");
  });

  it("the review say what only it has room for", () => {
    const kernel = { ...chosen("kernel", "/vmlinuz", { kind: "kernel" }), initrd: "/initrd.img" };
    expect(furtherFacts(kernel, fakeHost)).toEqual([["File", "/vmlinuz"], ["RAM disk", "/initrd.img"], ["Kernel line", "console=tty0 console=ttyS0"], ["Kept in", fakeHost.home]]);
    expect(furtherFacts(chosen("iso", "/w.iso", { kind: "iso", system: "windows-11-amd64" }), undefined)).toEqual([["File", "/w.iso"], ["Disks on", "SATA"], ["Network card", "e1000"], ["Clock", "local time"]]);
    expect(furtherFacts(chosen("iso", "/d.iso", { kind: "iso", system: "debian-12-amd64" }), undefined)).toEqual([["File", "/d.iso"]]);
  });

  it("the summary say what is not there, and a login that has no password yet", () => {
    const draft = chosen("disk", "/debian-12-genericcloud.qcow2", { kind: "disk", format: "qcow2", system: "debian-12-amd64", virtualBytes: 2 * GiB });
    expect(Object.fromEntries(facts({ ...draft, imageMode: "link" }, fakeSystems, absentEngine))).toMatchObject({ Engine: "QEMU, not available", Disk: "the image itself", "First login": "debian" });
    expect(Object.fromEntries(facts({ ...draft, growTo: null }, fakeSystems, qemuEngine)).Disk).toBe("a copy of the image");
    expect(Object.fromEntries(facts(draft, fakeSystems, qemuEngine)).Disk).toBe("a copy of the image, made 20 GB long");
  });
});
