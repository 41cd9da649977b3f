import { describe, expect, it } from "vitest";
import type { MachineConfig } from "../../../core/contract/model";
import { unsupported, type EngineNeeds } from "../../../core/contract/engineChoice";
import { EngineTable, machineSockets } from "../../../core/engine/engine";
import { qemuEngine } from "../../../core/engine/qemu";
import type { QemuHost } from "../../../core/engine/qemuHost";
import { v86Engine, v86Info } from "../../../core/engine/v86Argv";
import { noQemu } from "../../support/host";
import { makeConfig } from "../../support/machineConfig";

const slow = { id: "tcg", label: "TCG", works: true, fast: false, cpuModel: "max", argument: "tcg,thread=multi", reason: "Without KVM, QEMU translates.", remedy: "Use KVM." } as const;
const broken = { id: "kvm", label: "KVM", works: false, fast: true, cpuModel: "host", argument: "kvm", reason: "/dev/kvm opens, but KVM does not work.", remedy: "Turn virtualization on." } as const;
const host: QemuHost = {
  binary: "/usr/bin/qemu-system-x86_64",
  img: "/usr/bin/qemu-img",
  version: { major: 7, minor: 2, micro: 22, text: "7.2.22" },
  machineTypes: { q35: "pc-q35-7.2", pc: "pc-i440fx-7.2" },
  allMachineTypes: ["pc-q35-7.2", "pc-i440fx-7.2", "pc-q35-6.0"],
  sandbox: true,
  fileMigration: false,
  firmware: undefined,
  biosFirmware: true,
  accelerators: [broken, slow],
  accelerator: slow,
  maxCpus: 255,
  install: { qemu: "qemu-system-x86", img: "qemu-utils", uefi: "ovmf" } as unknown as QemuHost["install"],
};
const context = { folder: "/m", sockets: machineSockets("/run/m"), serialLog: "/m/s", dumpDir: "/m", guest: { starter: { kernel: "k", initrd: "i", cmdline: "" } }, links: [], incoming: false };
const v86 = v86Engine({ node: "node", env: {}, emulator: "/out/emulator.cjs", codeCache: "/cache" });

describe("the table of engines", () => {
  const without = new EngineTable(v86, qemuEngine(noQemu));
  const withQemu = new EngineTable(v86, qemuEngine({ ok: true, value: host }));
  const small: EngineNeeds = { engine: "auto", memoryMiB: 256, cpus: 1, boot: { kind: "starter" } };
  const chosen = (table: EngineTable, patch: Partial<EngineNeeds> = {}): string => table.resolve({ ...small, ...patch }).id;

  it("runs the starter and small kernels on the built-in emulator, where they are instant", () => {
    for (const table of [without, withQemu]) {
      expect(chosen(table)).toBe("v86");
      expect(chosen(table, { boot: { kind: "kernel", kernel: "/k", cmdline: "" } })).toBe("v86");
    }
  });

  it("runs on QEMU what the built-in emulator cannot: 64 bit, several processors, much memory, other hardware", () => {
    const needs: Partial<EngineNeeds>[] = [{ arch: "x86_64" }, { cpus: 2 }, { memoryMiB: 4096 }, { hardware: { firmware: "uefi" } }, { adapters: [{ model: "e1000" }] }, { disks: [{ bus: "sata" }] }, { seed: "seed/seed.iso" }];
    // Also where there is no QEMU: the refusal then says what to install.
    for (const table of [without, withQemu]) for (const need of needs) expect(chosen(table, need), JSON.stringify(need)).toBe("qemu");
  });

  it("boots media and disks on QEMU where there is one, else on the built-in emulator", () => {
    expect(chosen(withQemu, { boot: { kind: "firmware", order: "cd" } })).toBe("qemu");
    expect(chosen(without, { boot: { kind: "firmware", order: "cd" } })).toBe("v86");
  });

  it("knows in words what takes QEMU", () => {
    expect(withQemu.beyondBuiltIn({ ...small, cpus: 2, memoryMiB: 4096, arch: "x86_64", hardware: { firmware: "uefi" } })).toEqual(["2 processors", "4 GB of memory", "a 64-bit processor", "UEFI firmware"]);
    expect(withQemu.beyondBuiltIn(small)).toEqual([]);
  });

  it("has a machine that every host can run wait for nobody who looks for QEMU", () => {
    const looking = new EngineTable(v86, qemuEngine());
    expect(looking.mayNeedQemu(small)).toBe(false);
    expect(looking.mayNeedQemu({ ...small, engine: "v86", boot: { kind: "firmware", order: "cd" } })).toBe(false);
    for (const need of [{ engine: "qemu" as const }, { boot: { kind: "firmware" as const, order: "cd" as const } }, { cpus: 2 }]) expect(looking.mayNeedQemu({ ...small, ...need })).toBe(true);
  });

  it("takes the engine that was named", () => {
    expect(chosen(without, { engine: "qemu" })).toBe("qemu");
    expect(chosen(withQemu, { engine: "v86", cpus: 8 })).toBe("v86");
  });

  it("says when QEMU is found, and only then", () => {
    const table = new EngineTable(v86, qemuEngine());
    let changes = 0;
    table.onDidChange(() => changes++);
    expect(table.list()[1]).toMatchObject({ available: false, problem: { message: expect.stringContaining("looking for QEMU") as string } });
    table.setQemu(qemuEngine({ ok: true, value: host }));
    table.setQemu(qemuEngine({ ok: true, value: host }));
    expect(changes).toBe(1);
    expect(table.list()[1]).toMatchObject({ available: true, version: "7.2.22" });
  });
});

describe("QEMU on a host", () => {
  it("says what runs machines, and, when that is slow, why the quick way is closed", () => {
    expect(qemuEngine({ ok: true, value: host }).info.accelerator).toEqual({ label: "TCG", fast: false, reason: "KVM does not work here." });
    const fast = { ...broken, works: true };
    expect(qemuEngine({ ok: true, value: { ...host, accelerators: [fast, slow], accelerator: fast } }).info.accelerator).toEqual({ label: "KVM", fast: true });
  });

  it("offers UEFI only where there is some, and the transport that its version has", () => {
    expect(qemuEngine({ ok: true, value: host }).info.capabilities).toMatchObject({ firmwares: ["bios"], stateTransport: "socket" });
    const firmware = { code: "c", variables: "v", codeFormat: "raw", variablesFormat: "raw", secureBoot: false } as const;
    const engine = qemuEngine({ ok: true, value: { ...host, firmware, fileMigration: true } });
    expect(engine.info.capabilities).toMatchObject({ firmwares: ["bios", "uefi"], stateTransport: "file" });
    expect(engine.plan(makeConfig({ hardware: { firmware: "uefi" } }), context).files).toEqual([{ file: "/m/nvram/variables.qcow2", format: "qcow2", template: "v", templateFormat: "raw" }]);
  });

  it("fixes the machine version of a new machine, and refuses one that this QEMU does not know", () => {
    const engine = qemuEngine({ ok: true, value: host });
    const fixed = (hardware: MachineConfig["hardware"]): string | undefined => engine.defaults?.(makeConfig(hardware ? { hardware } : {})).hardware?.machineVersion;
    expect(fixed(undefined)).toBe("7.2");
    expect(fixed({ machineVersion: "6.0" })).toBe("6.0");
    expect(() => engine.plan(makeConfig({ hardware: { machineVersion: "99.1" } }), context)).toThrow(/pc-q35-99\.1.*7\.2\.22/);
  });

  it("that has no QEMU starts nothing, and says what to do", () => {
    const engine = qemuEngine(noQemu);
    expect(engine.info).toMatchObject({ available: false, problem: { code: "unavailable" } });
    expect(() => engine.plan(makeConfig(), context)).toThrow(/not installed/);
  });
});

describe("settings that an engine has nothing for", () => {
  it("are named with their field", () => {
    const machine: EngineNeeds = {
      ...{ engine: "v86", memoryMiB: 256, cpus: 1 },
      hardware: { firmware: "uefi", chipset: "q35", cpuModel: "qemu64", topology: { sockets: 1, cores: 1, threads: 1 }, clock: "local", extraArguments: ["-x"] },
      disks: [{}, { bus: "scsi" }],
      adapters: [{ model: "e1000" }],
      seed: "s",
    };
    expect(unsupported(machine, v86Info.capabilities).map(({ field }) => field)).toEqual(["hardware.firmware", "hardware.chipset", "hardware.cpuModel", "hardware.topology", "hardware.clock", "hardware.extraArguments", "disks.1", "adapters.0", "seed"]);
    expect(unsupported({ hardware: { clock: "utc", extraArguments: [] }, disks: [{ bus: "virtio" }] }, v86Info.capabilities)).toEqual([]);
  });
});
