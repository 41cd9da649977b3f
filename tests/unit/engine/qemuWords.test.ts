import { describe, expect, it } from "vitest";
import { explainQemu } from "../../../core/engine/qemuWords";

const said = (line: string): string => `2026-11-22T10:00:00.000000Z qemu-system-x86_64: ${line}\n`;

describe("what QEMU says when it gives up", () => {
  // Sentences of QEMU 7.2 itself.
  it.each([
    ['-blockdev {"x":1}: Failed to get "write" lock\nIs another process using the image [/a/0.raw]?', "locked", /in use by another program/],
    ["-blockdev {}: qcow2: Image is corrupt; cannot be opened read/write", "image-unusable", /damaged/],
    ["-blockdev {}: Image is not in qcow2 format", "image-unusable", /not a usable QCOW2 image/],
    ["-blockdev {}: Could not open '/a/b.raw': No such file or directory", "image-unusable", /\/a\/b\.raw is missing/],
    ["-blockdev {}: Could not open '/a/b.raw': Permission denied", "image-unusable", /may not open \/a\/b\.raw/],
    ["cannot set up guest memory 'pc.ram': Cannot allocate memory", "insufficient-resources", /that much memory/],
    ["unable to find CPU model 'pentium9'", "invalid-input", /“pentium9”/],
    ["can't apply global max-x86_64-cpu.nonsense=on: Property 'max-x86_64-cpu.nonsense' not found", "invalid-input", /max-x86_64-cpu\.nonsense/],
    ["unsupported machine type: \"pc-q35-99.0\"", "unsupported", /pc-q35-99\.0/],
    ["error: failed to set MSR 0x480 to 0x0", "unavailable", /Hardware acceleration failed/],
    ["error while loading state for instance 0x0 of device '0000:00:01.0:00.0/virtio-blk'", "engine-failed", /saved state is damaged/],
    ["load of migration failed: Input/output error", "engine-failed", /saved state is damaged/],
    ["-nonsense: invalid option", "invalid-input", /-nonsense/],
  ])("%s", (line, code, message) => {
    const explained = explainQemu(said(line));
    expect(explained).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(explained?.remedy).toBeTruthy();
    // Its own words stay, without what a log puts before them.
    expect(explained?.message).not.toContain("2026-11-22");
  });

  it("is quoted when nobody knows the sentence, with a hint at extra arguments where there are some", () => {
    expect(explainQemu(said("the moon is in the wrong place"))).toMatchObject({ code: "engine-failed", message: "QEMU gave up: the moon is in the wrong place" });
    expect(explainQemu(said("the moon"), ["-moon"])?.remedy).toContain("extra arguments");
  });

  it("is nothing when it said nothing but warnings", () => {
    expect(explainQemu("")).toBeUndefined();
    expect(explainQemu(said("warning: TCG doesn't support requested feature"))).toBeUndefined();
  });

  it("is cut when it is long, and never hangs on what a guest may have brought into it", () => {
    expect(explainQemu(said("x".repeat(100_000)))?.message.length).toBeLessThan(400);
    expect(explainQemu(`${"Could not open '".repeat(5000)}`)).toMatchObject({ code: "engine-failed" });
  });
});
