import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { MachineConfig } from "../contract/model";
import { layerFile } from "../engine/engine";
import { isMissing } from "../storage/fileErrors";
import { newMac } from "./macAddress";
import { isUnwritten } from "./overlay";
import { SavedState } from "./saved";
import { parts, type SnapshotRecord } from "./snapshotFile";
import type { Grown } from "./snapshotTree";

/** What a machine is by a snapshot: all but who it is. */
type Hardware = Omit<MachineConfig, "version" | "id" | "name" | "group" | "notes" | "createdAt" | "snapshot">;

function hardwareOf(config: MachineConfig): Hardware {
  const { version, id, name, group, notes, createdAt, snapshot, ...hardware } = config;
  void [version, id, name, group, notes, createdAt, snapshot];
  return hardware;
}

/**
 * The machine as a snapshot says, on its frozen layers: it stays who it is. A guest whose memory is restored has the addresses
 * of its adapters in it; otherwise an address that another machine has by now (`taken`) is a new one.
 */
export function restoredConfig(now: MachineConfig, record: SnapshotRecord, taken: readonly string[]): MachineConfig {
  const { version, id, name, group, notes, createdAt } = now;
  const hardware = hardwareOf(record.config);
  const used = new Set(taken);
  const adapters = hardware.adapters.map((adapter) => {
    if (record.state !== null || !used.has(adapter.mac)) return adapter;
    const mac = newMac([...used, ...hardware.adapters.map((other) => other.mac)]);
    used.add(mac);
    return { ...adapter, mac };
  });
  return { version, id, name, ...(group === undefined ? {} : { group }), ...(notes === undefined ? {} : { notes }), createdAt, ...hardware, adapters };
}

/** Whether the machine as it is now has anything that the snapshot it grew from has not. */
export async function holdsChanges({ config, folder, snapshots }: Grown): Promise<boolean> {
  const origin = snapshots.find(({ id }) => id === config.snapshot);
  if (!origin?.record || (await new SavedState(folder).exists())) return true;
  if (origin.record.state !== null) return true;
  const disks: MachineConfig["disks"] = [];
  for (const disk of config.disks) {
    const top = disk.layers[disk.layers.length - 1];
    if (!top || top.format !== "qcow2" || !(await isUnwritten(layerFile(top, folder)))) return true;
    disks.push({ ...disk, layers: disk.layers.slice(0, -1) });
  }
  if (canonical(hardwareOf({ ...config, disks })) !== canonical(hardwareOf(origin.record.config))) return true;
  return (await contentOf(join(folder, parts.nvram))) !== (await contentOf(join(origin.folder, parts.nvram)));
}

/** The same for the same settings, whatever their order. */
function canonical(hardware: Hardware): string {
  return JSON.stringify(hardware, (_, value: unknown) => (typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value));
}

/** What a folder of small files holds. */
async function contentOf(folder: string): Promise<string> {
  try {
    const files: string[] = [];
    for (const name of (await readdir(folder)).sort()) files.push(name, (await readFile(join(folder, name))).toString("base64"));
    return files.join("\n");
  } catch (failure) {
    if (isMissing(failure)) return "";
    throw failure;
  }
}
