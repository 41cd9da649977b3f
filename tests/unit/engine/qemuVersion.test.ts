import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isAtLeast, parseAccelerators, parseDataFolders, parseMachineTypes, parseVersion } from "../../../core/engine/qemuVersion";

describe("what QEMU says of itself", () => {
  it("tells its version", () => {
    expect(parseVersion("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022 Fabrice Bellard\n")).toEqual({ major: 7, minor: 2, micro: 22, text: "7.2.22 (Debian 1:7.2+dfsg-7)" });
    expect(parseVersion("warning: something\r\nQEMU emulator version 10.0.0\r\n")).toMatchObject({ major: 10, minor: 0, text: "10.0.0" });
    expect(parseVersion("GNU bash, version 5.2.15")).toBeUndefined();
    expect(parseVersion("QEMU emulator version next")).toBeUndefined();
  });

  it("is compared by its numbers", () => {
    const wanted = { major: 8, minor: 2 };
    expect([{ major: 8, minor: 2 }, { major: 8, minor: 10 }, { major: 10, minor: 0 }].every((version) => isAtLeast(version, wanted))).toBe(true);
    expect([{ major: 8, minor: 1 }, { major: 7, minor: 9 }].some((version) => isAtLeast(version, wanted))).toBe(false);
  });

  it("lists its accelerators and the folders of its firmware", () => {
    expect(parseAccelerators("Accelerators supported in QEMU binary:\ntcg\nkvm\n")).toEqual(["tcg", "kvm"]);
    expect(parseDataFolders("/usr/bin/../share/qemu\n/usr/bin/../share/seabios\n")).toEqual(["/usr/bin/../share/qemu", "/usr/bin/../share/seabios"]);
  });

  const greeting = '{"QMP": {"version": {}}}\n{"return": {}}\n';
  const machines = (...entries: unknown[]): string => `${greeting}${JSON.stringify({ return: entries })}\r\n{"return": {}}\n`;
  const pc = { name: "pc-i440fx-8.2", alias: "pc", "cpu-max": 255 };

  it("lists its machine types, with the names that the short ones stand for", () => {
    expect(parseMachineTypes(machines({ name: "pc-q35-8.2", alias: "q35", "cpu-max": 1024 }, pc, { name: "microvm", "cpu-max": 288 }))).toEqual({ q35: "pc-q35-8.2", pc: "pc-i440fx-8.2", all: ["microvm", "pc-i440fx-8.2", "pc-q35-8.2"], q35MaxCpus: 1024 });
  });

  it("has no machine types that are no PC, or could be taken for an option", () => {
    expect(parseMachineTypes(machines({ name: "virt-8.2", alias: "virt", "cpu-max": 512 }))).toBeUndefined();
    expect(parseMachineTypes(machines({ name: "q35,accel=xen", alias: "q35", "cpu-max": 4 }, pc))).toBeUndefined();
    expect(parseMachineTypes(machines({ name: "pc-q35-8.2", alias: "q35", "cpu-max": "many" }, pc))).toBeUndefined();
  });

  it("may be anything, and is never more than not understood", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json().map((json) => `{"return": ${json}}`), fc.array(fc.object()).map((entries) => machines(...entries))), (output) => {
        parseVersion(output);
        expect(parseAccelerators(output).every((name) => name.length <= 32)).toBe(true);
        expect(parseDataFolders(output).length).toBeLessThanOrEqual(32);
        expect(parseMachineTypes(output)).toBeUndefined();
      }),
    );
  });
});
