import { describe, expect, it } from "vitest";
import type { DiskConfig } from "../../../../core/contract/model";
import { isLinked, removalOf } from "../../../../renderer/features/machines/settings/removal";

const disk = (id: string, ...files: string[]): DiskConfig => ({ id, sizeBytes: 1024, layers: files.map((file) => ({ file, format: "qcow2" })) });

describe("what taking disks out deletes", () => {
  it("is every file in the machine's folder that no other disk needs", () => {
    const config = { disks: [disk("disk0", "disks/a/0.qcow2", "disks/a/1.qcow2"), disk("disk1", "disks/a/0.qcow2", "disks/b/1.qcow2")] };
    expect(removalOf(config, "/home/web", ["disk1"])).toEqual({ deleted: [{ id: "disk1", sizeBytes: 1024, files: ["/home/web/disks/b/1.qcow2"] }], left: [] });
    expect(removalOf(config, "/home/web", ["disk0", "disk1"]).deleted.map(({ files }) => files.length)).toEqual([2, 2]);
  });

  it("is no image that lies elsewhere, on any system", () => {
    const config = { disks: [disk("disk0", "/images/a.raw"), disk("disk1", "C:\\images\\b.raw", "disks/disk1/1.qcow2")] };
    expect(removalOf(config, "C:\\vm\\web", ["disk0", "disk1"])).toEqual({
      deleted: [{ id: "disk1", sizeBytes: 1024, files: ["C:\\vm\\web\\disks\\disk1\\1.qcow2"] }],
      left: [{ id: "disk0", files: ["/images/a.raw"] }, { id: "disk1", files: ["C:\\images\\b.raw"] }],
    });
    expect(["\\\\server\\share\\a.raw", "disks/disk0/0.raw", "c.raw"].map(isLinked)).toEqual([true, false, false]);
  });

  it("is nothing when nothing is taken out", () => {
    expect(removalOf({ disks: [disk("disk0", "a")] }, "/w", [])).toEqual({ deleted: [], left: [] });
  });
});
