import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HardwareConfig, MachinePatch } from "../../../../core/contract/model";
import { draftOf, malformed, patchOf, rebased } from "../../../../renderer/features/machines/settings/draft";
import { diskDraftOf } from "../../../../renderer/features/machines/settings/diskDraft";
import { hardwareDraftOf, hardwareOf, hasExpertSettings, topologyCpus } from "../../../../renderer/features/machines/settings/hardwareDraft";
import { fakeMachine } from "../../../support/fakeDesktop";

const disk = { id: "disk0", sizeBytes: 512, layers: [{ file: "disks/disk0/0.raw", format: "raw" as const }] };
const config = { ...fakeMachine("web", { config: { engine: "qemu", cpus: 4, disks: [disk] } }).config! };
const typed = (part: Partial<ReturnType<typeof hardwareDraftOf>>) => ({ ...draftOf(config), hardware: { ...hardwareDraftOf(undefined), ...part } });

describe("the draft of the hardware", () => {
  it("leaves to the engine what is not set", () => {
    expect(hardwareOf(hardwareDraftOf(undefined))).toEqual({});
    expect(patchOf({ ...config, hardware: { firmware: "bios", clock: "utc" } }, draftOf({ ...config, hardware: { firmware: "bios", clock: "utc" } }))).toEqual({});
  });

  it("sends the whole record when one thing in it changes", () => {
    const base = { ...config, hardware: { chipset: "pc" as const, cpuModel: "host" } };
    const draft = draftOf(base);
    expect(patchOf(base, { ...draft, hardware: { ...draft.hardware, firmware: "uefi" } })).toEqual({ hardware: { chipset: "pc", cpuModel: "host", firmware: "uefi" } });
    expect(patchOf(base, { ...draft, hardware: { ...draft.hardware, chipset: "standard", cpuModel: " " } })).toEqual({ hardware: {} });
  });

  it("keeps any configuration that it was made of", () => {
    const topology = fc.record({ sockets: fc.integer({ min: 1, max: 64 }), cores: fc.integer({ min: 1, max: 256 }), threads: fc.integer({ min: 1, max: 8 }) });
    const hardware = fc.record(
      {
        chipset: fc.constantFrom("q35" as const, "pc" as const),
        firmware: fc.constant("uefi" as const),
        clock: fc.constant("local" as const),
        machineVersion: fc.constantFrom("7.2", "10.0"),
        cpuModel: fc.stringMatching(/^[A-Za-z0-9_.+=,-]{1,20}$/),
        topology,
        extraArguments: fc.array(fc.stringMatching(/^-?[a-z0-9,=]{1,12}$/), { minLength: 1, maxLength: 5 }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(hardware, (given) => {
        expect(HardwareConfig.safeParse(given).success).toBe(true);
        expect(hardwareOf(hardwareDraftOf(given))).toEqual({ ...given });
      }),
    );
  });

  it("sends nothing that the contract refuses, whatever is typed", () => {
    const text = fc.string({ maxLength: 12 });
    const hardware = fc.record({ machineVersion: text, cpuModel: text, sockets: text, cores: text, threads: text, extraArguments: text });
    fc.assert(
      fc.property(hardware, fc.record({ megabytesPerSecond: text, operationsPerSecond: text }), (part, limits) => {
        const draft = { ...typed(part), disks: { disk0: { bus: "virtio" as const, ...limits } } };
        expect(MachinePatch.safeParse(patchOf(config, draft)).success).toBe(true);
        expect(malformed(draft).some(({ field }) => field.startsWith("hardware."))).toBe(hardwareOf(draft.hardware) === undefined);
      }),
    );
  });

  it("takes extra arguments a line each, without blank lines and the spaces around them", () => {
    expect(hardwareOf(typed({ extraArguments: " -device \n\n edu \r\n" }).hardware)).toEqual({ extraArguments: ["-device", "edu"] });
  });

  it("counts what a topology makes, and takes one for what is left out", () => {
    expect(topologyCpus(typed({ sockets: "2", cores: "4" }).hardware)).toBe(8);
    expect(topologyCpus(typed({ threads: "many" }).hardware)).toBeUndefined();
    expect(topologyCpus(typed({}).hardware)).toBeUndefined();
    expect(hardwareOf(typed({ sockets: "2" }).hardware)).toEqual({ topology: { sockets: 2, cores: 1, threads: 1 } });
  });

  it("names each field that cannot be meant, and leaves the hardware out of the change", () => {
    const draft = typed({ cpuModel: "two words", machineVersion: "seven", sockets: "0", extraArguments: Array.from({ length: 65 }, () => "-x").join("\n") });
    expect(malformed(draft).map(({ field }) => field).sort()).toEqual(["hardware.cpuModel", "hardware.extraArguments", "hardware.machineVersion", "hardware.topology"]);
    expect(patchOf(config, draft)).toEqual({});
  });

  it("says in words of its own what each field takes", () => {
    const words = Object.fromEntries(malformed(typed({ cpuModel: "two words", machineVersion: "seven", threads: "9" })).map(({ field, message }) => [field, message]));
    expect(words).toEqual({
      "hardware.cpuModel": "Give the name of a CPU model and its features, like qemu64,+aes.",
      "hardware.machineVersion": "Give a machine version like 7.2.",
      "hardware.topology": "Give whole numbers: at most 64 sockets, 256 cores and 8 threads.",
    });
  });

  it("takes a machine version without the spaces around it", () => {
    expect(hardwareOf(typed({ machineVersion: " 7.2 " }).hardware)).toEqual({ machineVersion: "7.2" });
  });

  it("counts a topology also while another field is wrong", () => {
    expect(topologyCpus(typed({ sockets: "2", cpuModel: "two words", machineVersion: "x", extraArguments: "\0" }).hardware)).toBe(2);
  });

  it("knows which settings belong to experts", () => {
    expect(hasExpertSettings(typed({ firmware: "uefi", chipset: "pc", clock: "local" }).hardware)).toBe(false);
    for (const part of [{ machineVersion: "7.2" }, { cpuModel: "host" }, { extraArguments: "-S" }, { cores: "2" }]) expect(hasExpertSettings(typed(part).hardware), JSON.stringify(part)).toBe(true);
  });

  it("follows what someone else changed, field by field", () => {
    const draft = { ...typed({ cpuModel: "host" }), disks: { disk0: { ...diskDraftOf(disk), megabytesPerSecond: "5" } } };
    const theirs = { ...config, hardware: { clock: "local" as const }, disks: [{ ...disk, bus: "scsi" as const, limits: { operationsPerSecond: 7 } }, { ...disk, id: "disk1" }] };
    expect(patchOf(theirs, rebased(draft, config, theirs))).toEqual({
      hardware: { clock: "local", cpuModel: "host" },
      disks: [{ id: "disk0", limits: { bytesPerSecond: 5 * 1024 * 1024, operationsPerSecond: 7 } }],
    });
  });
});

describe("the draft of a disk", () => {
  const limited = { ...config, disks: [{ ...disk, limits: { bytesPerSecond: 1_234_567, operationsPerSecond: 50 } }] };
  const set = (part: object, of = limited) => patchOf(of, { ...draftOf(of), disks: { disk0: { ...diskDraftOf(of.disks[0]!), ...part } } });

  it("sends what differs of bus and limits, with bytes for megabytes", () => {
    expect(set({ bus: "sata" })).toEqual({ disks: [{ id: "disk0", bus: "sata" }] });
    expect(set({ megabytesPerSecond: "1,5" })).toEqual({ disks: [{ id: "disk0", limits: { bytesPerSecond: 1_572_864, operationsPerSecond: 50 } }] });
    expect(set({})).toEqual({});
  });

  it("keeps the exact bytes of a limit that was not touched", () => {
    expect(set({ operationsPerSecond: "60" })).toEqual({ disks: [{ id: "disk0", limits: { bytesPerSecond: 1_234_567, operationsPerSecond: 60 } }] });
  });

  it("lifts the limits when both are emptied", () => {
    expect(set({ megabytesPerSecond: "", operationsPerSecond: " " })).toEqual({ disks: [{ id: "disk0", limits: null }] });
    expect(set({ megabytesPerSecond: "" })).toEqual({ disks: [{ id: "disk0", limits: { operationsPerSecond: 50 } }] });
  });

  it("takes limits from a kibibyte to a million megabytes a second, and shows thousandths", () => {
    const field = (megabytesPerSecond: string) => malformed({ ...draftOf(limited), disks: { disk0: { ...diskDraftOf(limited.disks[0]!), megabytesPerSecond } } }).map((finding) => finding.field);
    for (const good of ["0.001", "1000000", ""]) expect(field(good), good).toEqual([]);
    for (const bad of ["0.0009", "1000001", "-1", "1e3"]) expect(field(bad), bad).toEqual(["limits.disk0.bytesPerSecond"]);
    expect(diskDraftOf({ ...disk, limits: { bytesPerSecond: 1_234_567 } }).megabytesPerSecond).toBe("1.177");
  });

  it("is no change when spaces are all that differ", () => {
    expect(set({ operationsPerSecond: " 50 " })).toEqual({});
  });

  it("calls limits malformed that are none, and leaves both out of the change", () => {
    const draft = { ...draftOf(limited), disks: { disk0: { bus: "virtio" as const, megabytesPerSecond: "0", operationsPerSecond: "1.5" } } };
    expect(malformed(draft).map(({ field }) => field)).toEqual(["limits.disk0.bytesPerSecond", "limits.disk0.operationsPerSecond"]);
    expect(patchOf(limited, draft)).toEqual({});
    expect(malformed({ ...draft, removeDisks: ["disk0"] })).toEqual([]);
  });
});
