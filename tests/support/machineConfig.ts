import type { MachineConfig } from "../../core/contract/model";

let count = 0;

/** A machine's configuration that is complete and different from every other made here. */
export function makeConfig(patch: Partial<MachineConfig> = {}): MachineConfig {
  count++;
  const digits = count.toString(16).padStart(8, "0");
  return {
    version: 1,
    id: `${digits}-1111-4111-8111-111111111111`,
    name: `machine ${count}`,
    createdAt: 1_700_000_000_000 + count,
    engine: "auto",
    memoryMiB: 128,
    cpus: 1,
    boot: { kind: "starter" },
    disks: [],
    drives: [{ id: "cd0", medium: null }],
    adapters: [{ mac: `52:54:00:00:${digits.slice(4, 6)}:${digits.slice(6)}`, attachment: { mode: "none" }, plugged: true }],
    ...patch,
  };
}

export const oneDisk: MachineConfig["disks"] = [{ id: "disk0", sizeBytes: 4096, layers: [{ file: "disks/disk0/0.raw", format: "raw" }] }];
