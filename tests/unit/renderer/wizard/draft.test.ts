import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MachineSpec, SeedSpec, type FileInspection, type HostInfo } from "../../../../core/contract/model";
import type { Around, Draft } from "../../../../renderer/features/wizard/answers";
import { answered, convertedTo, isFilledIn, linkRefusal, needsOf, newDraft, systemIs, toSpec, withInspection, withPath, withSource, withSuggestions } from "../../../../renderer/features/wizard/draft";
import { authorizedKeys, hostNameFrom, isCloudImage, loginFindings, userOf } from "../../../../renderer/features/wizard/login";
import { findingsOf, missing } from "../../../../renderer/features/wizard/progress";
import { engineOf, freeName, nameFromPath } from "../../../../renderer/features/wizard/suggestions";
import { describeFile, describeRecognised, facts } from "../../../../renderer/features/wizard/words";
import { absentEngine, builtInEngine, fakeHost, fakeSystems, qemuEngine } from "../../../support/fakeDesktop";

const GiB = 1024 ** 3;
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9 ada@garden";

function around(part: Partial<HostInfo> = {}, machines: { name: string }[] = []): Around {
  return { machines, systems: fakeSystems, host: { ...fakeHost, engines: [builtInEngine, qemuEngine], ...part } };
}

const full = around();
const withoutQemu = around({ engines: [builtInEngine, absentEngine] });

const debianDisc: Partial<FileInspection> = { kind: "iso", format: "iso9660", bootable: true, system: "debian-12-amd64", arch: "x86_64", firmwares: ["bios", "uefi"] };
const cloudImage: Partial<FileInspection> = { kind: "disk", format: "qcow2", virtualBytes: 2 * GiB, system: "debian-12-amd64", arch: "x86_64" };

/** The draft after a file was chosen and looked at. */
function chosen(source: "iso" | "disk" | "kernel", path: string, found: Partial<FileInspection>, where: Around = full): Draft {
  const draft = withSuggestions(withPath(newDraft(source, where), path), where);
  return withSuggestions(withInspection(draft, { path, kind: "unknown", format: "unknown", sizeBytes: 512, ...found }), where);
}

const specOf = (draft: Draft) => MachineSpec.parse(toSpec(draft, fakeSystems));

describe("the wizard's draft", () => {
  it("begins with answers that are a legal specification for the starter", () => {
    expect(specOf(newDraft("starter", full))).toMatchObject({ name: "linux", memoryMiB: 256, cpus: 1, boot: { kind: "starter" }, disks: [{ sizeBytes: 2 * GiB }] });
    expect(specOf(newDraft("starter", full))).not.toHaveProperty("hardware");
  });

  it("suggests a name that is free", () => {
    expect(freeName("linux", [{ name: "Linux" }, { name: "linux-2" }])).toBe("linux-3");
    expect(newDraft("starter", around({}, [{ name: "linux" }])).name).toBe("linux-2");
  });

  it("names a machine after the system its file holds, else after the file", () => {
    expect(chosen("iso", "/isos/netinst.iso", debianDisc).name).toBe("debian-12");
    expect(chosen("iso", "/isos/rescue-1.2.iso", {}).name).toBe("rescue-1.2");
    expect(nameFromPath("C:\\images\\disk.img")).toBe("disk");
  });

  it("keeps what a person has answered when source, file and system change", () => {
    let draft = answered(newDraft("starter", full), { name: "mine", memoryMiB: 777 });
    draft = withSuggestions(withPath(withSource(draft, "iso"), "/x.iso"), full);
    draft = withSuggestions(withInspection(draft, { path: "/x.iso", kind: "iso", format: "iso9660", sizeBytes: 1, ...debianDisc }), full);
    draft = withSuggestions(answered(draft, { system: "windows-11-amd64" }), full);
    expect(draft).toMatchObject({ name: "mine", memoryMiB: 777, cpus: 2, diskBytes: 64 * GiB });
  });

  it("keeps the chosen files when the person goes to another source and back", () => {
    const elsewhere = withSource(withPath(newDraft("iso", full), "/x/y.iso"), "kernel");
    const back = withSuggestions(withSource(elsewhere, "iso"), full);
    expect(back.iso).toBe("/x/y.iso");
    expect(back.name).toBe("y");
  });

  it("gives an ISO what its system does well with", () => {
    expect(specOf(chosen("iso", "/d.iso", debianDisc))).toEqual({
      name: "debian-12", engine: "auto", memoryMiB: 2048, cpus: 2, boot: { kind: "firmware", order: "cd" }, system: "debian-12-amd64", arch: "x86_64",
      hardware: { firmware: "bios" }, disks: [{ sizeBytes: 20 * GiB }], medium: "/d.iso", adapters: [{ attachment: { mode: "none" }, plugged: false }],
    });
  });

  it("gives Windows the hardware it knows", () => {
    const spec = specOf(chosen("iso", "/w.iso", { kind: "iso", system: "windows-11-amd64", arch: "x86_64", firmwares: ["bios", "uefi"] }));
    expect(spec.hardware).toEqual({ firmware: "uefi", clock: "local" });
    expect(spec.disks).toEqual([{ sizeBytes: 64 * GiB, bus: "sata" }]);
    expect(spec.adapters[0]).toMatchObject({ model: "e1000" });
  });

  it("takes what suits any 64-bit system when nothing was recognised, and does not say that it knows", () => {
    const draft = chosen("iso", "/x.iso", { kind: "iso" });
    expect(draft).toMatchObject({ system: "other-amd64", memoryMiB: 1024, diskBus: "sata" });
    expect(systemIs(draft)).toBe("guessed");
    expect(toSpec(draft, fakeSystems)).not.toHaveProperty("system");
    expect(toSpec(draft, fakeSystems)).not.toHaveProperty("arch");
    expect(systemIs(answered(draft, { system: "debian-12-i386" }))).toBe("chosen");
    expect(toSpec(answered(draft, { system: "debian-12-i386" }), fakeSystems)).toMatchObject({ system: "debian-12-i386", arch: "i386" });
  });

  it("suggests nothing that no engine here can give", () => {
    const draft = chosen("iso", "/d.iso", { kind: "iso", system: "debian-12-i386", arch: "i386" }, withoutQemu);
    expect(draft).toMatchObject({ memoryMiB: 2047, cpus: 1, diskBus: "virtio", adapterModel: "virtio" });
    expect(engineOf(needsOf(draft, fakeSystems), [builtInEngine, absentEngine])?.id).toBe("v86");
    const guess = chosen("iso", "/x.iso", { kind: "iso" }, withoutQemu);
    expect(guess).toMatchObject({ system: "other-i386", diskBus: "virtio", adapterModel: "virtio" });
  });

  it("suggests no more memory than leaves some to the host", () => {
    expect(chosen("iso", "/d.iso", debianDisc, around({ memoryTotalMiB: 2000 })).memoryMiB).toBe(1472);
  });

  it("starts a disc with firmware that can start it and is there", () => {
    expect(chosen("iso", "/d.iso", { ...debianDisc, firmwares: ["uefi"] }).firmware).toBe("uefi");
    const bare = around({ engines: [builtInEngine, { ...qemuEngine, capabilities: { ...qemuEngine.capabilities, firmwares: ["bios"] } }] });
    expect(chosen("iso", "/w.iso", { kind: "iso", system: "windows-11-amd64", firmwares: ["bios", "uefi"] }, bare).firmware).toBe("bios");
    expect(chosen("iso", "/w.iso", { kind: "iso", firmwares: ["uefi"] }, bare).firmware).toBe("uefi");
  });

  it("does not take a late word about another file", () => {
    const draft = withPath(newDraft("iso", full), "/new.iso");
    expect(withInspection(draft, { path: "/old.iso", kind: "iso", format: "iso9660", sizeBytes: 1 })).toBe(draft);
  });

  it("forgets what was said about a file with the file", () => {
    const draft = answered(chosen("disk", "/a.qcow2", cloudImage), { system: "openbsd-7-amd64", growTo: 99 * GiB, login: "cloud-init" });
    expect(withSuggestions(withPath(draft, "/b.raw"), full)).toMatchObject({ system: "other-amd64", growTo: null, login: "own" });
  });

  it("knows a file still that is chosen once more", () => {
    const draft = chosen("iso", "/d.iso", debianDisc);
    expect(withPath(draft, "/d.iso").inspection).toBe(draft.inspection);
    expect(withSource({ ...draft, image: "/d.iso" }, "disk").inspection).toBe(draft.inspection);
    expect(withPath(draft, "/e.iso").inspection).toBeUndefined();
  });

  it("boots a disk image as the first disk, an empty one behind it", () => {
    const draft = answered({ ...chosen("disk", "/a.raw", { kind: "disk", format: "raw" }), imageMode: "link" }, { diskBytes: 512, diskBus: "scsi" });
    expect(toSpec(draft, fakeSystems)).toMatchObject({ boot: { kind: "firmware", order: "disk" }, disks: [{ image: "/a.raw", mode: "link", bus: "scsi" }, { sizeBytes: 512, bus: "scsi" }] });
  });

  it("leaves the initrd out when there is none, and says what processor the kernel needs", () => {
    const spec = toSpec(chosen("kernel", "/vmlinuz", { kind: "kernel", format: "bzImage", arch: "x86_64" }), fakeSystems);
    expect(spec).toMatchObject({ boot: { kind: "kernel", kernel: "/vmlinuz", cmdline: "console=tty0 console=ttyS0" }, arch: "x86_64" });
    expect(spec.boot).not.toHaveProperty("initrd");
  });

  it("says what becomes of an image's format, as the host service does it", () => {
    const of = (format: string) => chosen("disk", "/a", { kind: "disk", format });
    expect(convertedTo(of("vmdk"), qemuEngine)).toBe("qcow2");
    expect(convertedTo(of("qcow2"), qemuEngine)).toBeUndefined();
    expect(convertedTo(of("raw"), qemuEngine)).toBeUndefined();
    expect(convertedTo(of("qcow2"), builtInEngine)).toBe("raw");
    expect(convertedTo({ ...of("vmdk"), imageMode: "link" }, qemuEngine)).toBeUndefined();
    expect(linkRefusal(of("vmdk"), qemuEngine)).toMatch(/raw and qcow2/);
    expect(linkRefusal(of("qcow2"), qemuEngine)).toBeUndefined();
    expect(linkRefusal(of("qcow2"), builtInEngine)).toMatch(/this one is qcow2/);
  });

  it("is filled in once anything was said, and not by a card that was clicked", () => {
    const fresh = newDraft("starter", full);
    expect(isFilledIn(fresh)).toBe(false);
    expect(isFilledIn(withSuggestions(withSource(fresh, "kernel"), full))).toBe(false);
    expect(isFilledIn(answered(fresh, { cpus: 2 }))).toBe(true);
    expect(isFilledIn(withPath(withSource(fresh, "iso"), "/x.iso"))).toBe(true);
    expect(isFilledIn({ ...fresh, password: "x" })).toBe(true);
    expect(isFilledIn(answered(fresh, { diskBytes: null }))).toBe(true);
    expect(isFilledIn(withSource(withPath(newDraft("iso", full), "/x.iso"), "starter"))).toBe(true);
  });
});

describe("the first login of a cloud image", () => {
  const draft = chosen("disk", "/images/debian-12-genericcloud-amd64.qcow2", cloudImage);

  it("is offered by the image's name", () => {
    for (const name of ["debian-12-generic-amd64.qcow2", "noble-server-cloudimg-amd64.img", "AlmaLinux-9-GenericCloud-9.4.x86_64.qcow2", "nocloud_alpine-3.20-x86_64.qcow2"]) expect(isCloudImage(`/i/${name}`), name).toBe(true);
    for (const name of ["debian-12-nocloud-amd64.qcow2", "disk.raw", "generics.vdi"]) expect(isCloudImage(`/clouds/${name}`), name).toBe(false);
    expect(draft).toMatchObject({ login: "cloud-init", user: "debian", hostname: "debian-12" });
  });

  it("is not offered where no engine can show it to the guest", () => {
    expect(chosen("disk", "/i/debian-12-genericcloud.qcow2", cloudImage, withoutQemu).login).toBe("own");
  });

  it("needs a user, and a password or a key", () => {
    expect(missing("system", draft)).toMatch(/password or an SSH key/);
    expect(missing("review", draft)).toMatch(/password or an SSH key/);
    expect(missing("system", { ...draft, password: "x" })).toBeUndefined();
    expect(missing("system", { ...draft, keys: key })).toBeUndefined();
    expect(missing("system", { ...draft, keys: key, user: "" })).toMatch(/name/);
    expect(missing("system", { ...draft, login: "own" })).toBeUndefined();
  });

  it("goes into the specification with every key on its own", () => {
    const spec = specOf({ ...draft, password: "p w", keys: `# mine\n${key}\r\n\n  ${key}2  ` });
    expect(spec.seed).toEqual({ user: "debian", password: "p w", authorizedKeys: [key, `${key}2`], hostname: "debian-12" });
    expect(spec.disks).toEqual([{ image: draft.image, mode: "copy", growTo: 20 * GiB }]);
    expect(specOf({ ...draft, login: "own" })).not.toHaveProperty("seed");
  });

  it("grows the copy to 10 to 20 GB, and never makes it shorter", () => {
    const grownBy = (system: string, virtualBytes: number) => chosen("disk", "/x-cloudimg.img", { ...cloudImage, system, virtualBytes }).growTo;
    expect(grownBy("openbsd-7-amd64", 2 * GiB)).toBe(16 * GiB);
    expect(grownBy("windows-11-amd64", 2 * GiB)).toBe(20 * GiB);
    expect(grownBy("openbsd-7-amd64", 30 * GiB)).toBeNull();
    expect(toSpec({ ...draft, password: "x", imageMode: "link" }, fakeSystems).disks).toEqual([{ image: draft.image, mode: "link" }]);
  });

  it("takes exactly the names that the host service takes", () => {
    const some = fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9_-]{0,70}$/));
    fc.assert(
      fc.property(some, some, (user, hostname) => {
        const wrong = loginFindings({ user, password: "x", keys: "", hostname }).map((finding) => finding.field);
        expect(wrong.includes("user")).toBe(!SeedSpec.shape.user.safeParse(user).success);
        expect(wrong.includes("hostname")).toBe(hostname !== "" && !SeedSpec.shape.hostname.safeParse(hostname).success);
      }),
      { examples: [["root", "a-b"], ["Root", "-a"], ["a\n", "a\n"], ["a".repeat(33), "a".repeat(64)]] },
    );
  });

  it("suggests host names that can be used, or none", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (name) => {
        const host = hostNameFrom(name);
        if (host !== "") expect(SeedSpec.shape.hostname.safeParse(host).success).toBe(true);
      }),
    );
    expect(hostNameFrom("Büro & Küche 2")).toBe("buro-kuche-2");
    expect(userOf(fakeSystems.find((system) => system.id === "windows-11-amd64"))).toBe("user");
  });

  it("tells a private key and nonsense from a public key", () => {
    const of = (keys: string) => loginFindings({ user: "a", password: "x", keys, hostname: "" })[0]?.message;
    expect(of(`${key}\nfrom="10.0.0.*" ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB x`)).toBeUndefined();
    expect(of("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA")).toMatch(/private/);
    expect(of(`${key}\nhello`)).toMatch(/Key 2/);
    expect(of(Array.from({ length: 33 }, () => key).join("\n"))).toMatch(/33 keys/);
    expect(authorizedKeys("\n \n# x")).toEqual([]);
  });
});

describe("the wizard's steps", () => {
  it("show a finding where its answer is given", () => {
    const image = { field: "disks.0", level: "error" as const, message: "not a disk" };
    const disk = newDraft("disk", full);
    expect(findingsOf("source", [image], disk)).toEqual([image]);
    expect(findingsOf("source", [image], { ...disk, imageMode: "link" })).toEqual([]);
    expect(findingsOf("disk", [image], disk)).toEqual([image]);
    expect(findingsOf("source", [image], newDraft("starter", full))).toEqual([]);
    expect(findingsOf("review", [image], disk)).toEqual([image]);
    const memory = { field: "memoryMiB", level: "warning" as const, message: "much" };
    expect(findingsOf("system", [memory], disk)).toEqual([memory]);
  });

  it("do not go on from a source without its file, or without a name", () => {
    expect(missing("source", newDraft("starter", full))).toBeUndefined();
    expect(missing("source", newDraft("iso", full))).toMatch(/ISO/);
    expect(missing("review", newDraft("disk", full))).toMatch(/disk image/);
    expect(missing("system", answered(newDraft("starter", full), { name: "  " }))).toMatch(/name/);
  });
});

describe("the wizard's words", () => {
  const debian = fakeSystems.find((system) => system.id === "debian-12-i386")!;

  it("say what was recognised", () => {
    expect(describeRecognised({ path: "/d", format: "iso9660", sizeBytes: 1, ...debianDisc, kind: "iso" }, fakeSystems[1]!)).toBe("Debian 12 installation disc, 64-bit, BIOS and UEFI");
    expect(describeRecognised({ path: "/d", kind: "iso", format: "iso9660", sizeBytes: 1, firmwares: [] }, debian)).toBe("Debian 12 installation disc, 32-bit, not bootable");
    expect(describeRecognised({ path: "/d", kind: "disk", format: "qcow2", sizeBytes: 1 }, debian)).toBe("Debian 12 disk image, 32-bit");
  });

  it("say what a file is by its content", () => {
    expect(describeFile({ path: "/d", kind: "disk", format: "qcow2", sizeBytes: 300 * 1024 ** 2, virtualBytes: 2 * GiB })).toBe("qcow2, a disk of 2 GB, 300 MB as a file");
  });

  it("sum the machine up", () => {
    const draft = { ...chosen("disk", "/debian-12-genericcloud.vmdk", { ...cloudImage, format: "vmdk" }), password: "x", keys: `${key}\n${key}` };
    expect(Object.fromEntries(facts(draft, fakeSystems, qemuEngine))).toEqual({
      Guest: "Disk image debian-12-genericcloud", System: "Debian 12, 64-bit", Engine: "QEMU 7.2.18 with KVM", Hardware: "2 processors, 2 GB memory", Firmware: "BIOS",
      Disk: "a copy of the image as qcow2, made 20 GB long", "First login": "debian, by a password and 2 SSH keys", Network: "unplugged",
    });
  });
});
