import { describe, expect, it } from "vitest";
import { MachineSpec } from "../../../../core/contract/model";
import { findingsOf, freeName, isFilledIn, missing, nameFromPath, newDraft, toSpec, withPath, withSource } from "../../../../renderer/features/wizard/draft";

const none: { name: string }[] = [];

describe("the wizard's draft", () => {
  it("begins with answers that are a legal specification for the starter", () => {
    const spec = MachineSpec.parse(toSpec(newDraft("starter", none)));
    expect(spec).toMatchObject({ name: "linux", memoryMiB: 256, cpus: 1, boot: { kind: "starter" }, disks: [{ sizeBytes: 2 * 1024 ** 3 }] });
  });

  it("suggests a name that is free", () => {
    expect(freeName("linux", [{ name: "Linux" }, { name: "linux-2" }])).toBe("linux-3");
  });

  it("names a machine after the file it is made from", () => {
    expect(withPath(newDraft("iso", none), "/isos/debian-12.5.0.iso", none).name).toBe("debian-12.5.0");
    expect(nameFromPath("C:\\images\\disk.img")).toBe("disk");
  });

  it("keeps the name a person gave when the source or the file changes", () => {
    const named = { ...newDraft("starter", none), name: "mine", nameIsOwn: true };
    expect(withSource(named, "iso", none).name).toBe("mine");
    expect(withPath({ ...named, source: "iso" }, "/x.iso", none).name).toBe("mine");
  });

  it("keeps the chosen files when the person goes to another source and back", () => {
    const chosen = withPath(newDraft("iso", none), "/x/y.iso", none);
    const back = withSource(withSource(chosen, "kernel", none), "iso", none);
    expect(back.iso).toBe("/x/y.iso");
    expect(back.name).toBe("y");
  });

  it("puts an ISO into the drive and boots from it first", () => {
    const spec = toSpec(withPath(newDraft("iso", none), "/x.iso", none));
    expect(spec).toMatchObject({ medium: "/x.iso", boot: { kind: "firmware", order: "cd" }, disks: [{ sizeBytes: 8 * 1024 ** 3 }] });
  });

  it("boots a disk image as the first disk", () => {
    const draft = withPath({ ...newDraft("disk", none), diskBytes: 512, imageMode: "link" }, "/a.raw", none);
    expect(toSpec(draft)).toMatchObject({ boot: { kind: "firmware", order: "disk" }, disks: [{ image: "/a.raw", mode: "link" }, { sizeBytes: 512 }] });
  });

  it("leaves the initrd out when there is none", () => {
    const spec = toSpec(withPath(newDraft("kernel", none), "/vmlinuz", none));
    expect(spec.boot).toEqual({ kind: "kernel", kernel: "/vmlinuz", cmdline: "console=tty0 console=ttyS0" });
  });

  it("shows a finding where its answer was given", () => {
    const image = { field: "disks.0", level: "error" as const, message: "not a disk" };
    const disk = newDraft("disk", none);
    expect(findingsOf("source", [image], disk)).toEqual([image]);
    expect(findingsOf("disk", [image], disk)).toEqual([]);
    expect(findingsOf("disk", [image], newDraft("starter", none))).toEqual([image]);
    expect(findingsOf("review", [image], disk)).toEqual([image]);
    const memory = { field: "memoryMiB", level: "warning" as const, message: "much" };
    expect(findingsOf("system", [memory], disk)).toEqual([memory]);
  });

  it("does not go on from a source without its file, or without a name", () => {
    expect(missing("source", newDraft("starter", none))).toBeUndefined();
    expect(missing("source", newDraft("iso", none))).toMatch(/ISO/);
    expect(missing("system", { ...newDraft("starter", none), name: "  " })).toMatch(/name/);
  });

  it("is filled in by what was typed or set, and not by looking at another source", () => {
    const fresh = newDraft("starter", [{ name: "linux" }]);
    expect(isFilledIn(fresh)).toBe(false);
    expect(isFilledIn(withSource(fresh, "kernel", none))).toBe(false);
    expect(isFilledIn({ ...fresh, name: "mine", nameIsOwn: true })).toBe(true);
    expect(isFilledIn({ ...fresh, memoryMiB: 512 })).toBe(true);
    expect(isFilledIn({ ...fresh, diskBytes: null })).toBe(true);
    expect(isFilledIn(withSource(withPath(newDraft("iso", none), "/x.iso", none), "starter", none))).toBe(true);
  });
});
