import type { DiskConfig, MachineConfig } from "../../../../core/contract/model";

/** What taking disks out of a machine does to their files. */
export interface Removal {
  /** Files in the machine's folder, as paths of the host. They go with everything on them. */
  readonly deleted: readonly { readonly id: string; readonly sizeBytes: number; readonly files: readonly string[] }[];
  /** Images elsewhere on the host: they are let go of, and stay. */
  readonly left: readonly { readonly id: string; readonly files: readonly string[] }[];
}

/** Follows what the host service does: it deletes what is in the machine's folder and no other disk needs. */
export function removalOf(config: Pick<MachineConfig, "disks">, folder: string, removeDisks: readonly string[]): Removal {
  const removed = config.disks.filter(({ id }) => removeDisks.includes(id));
  const needed = new Set(config.disks.filter((disk) => !removed.includes(disk)).flatMap(({ layers }) => layers.map(({ file }) => file)));
  const filesOf = ({ layers }: DiskConfig, inFolder: boolean): string[] => layers.map(({ file }) => file).filter((file) => isLinked(file) !== inFolder);
  return {
    deleted: removed.map((disk) => ({ id: disk.id, sizeBytes: disk.sizeBytes, files: filesOf(disk, true).filter((file) => !needed.has(file)).map((file) => within(folder, file)) })).filter(({ files }) => files.length > 0),
    left: removed.map((disk) => ({ id: disk.id, files: filesOf(disk, false) })).filter(({ files }) => files.length > 0),
  };
}

/** Whether a disk's file lies elsewhere than in the machine's folder: its path is absolute, in either system's way. */
export function isLinked(file: string): boolean {
  return file.startsWith("/") || /^(?:[A-Za-z]:|\\)/.test(file);
}

/** Paths in a configuration have slashes; a folder of Windows has backslashes. */
function within(folder: string, file: string): string {
  return folder.includes("\\") ? `${folder}\\${file.replaceAll("/", "\\")}` : `${folder}/${file}`;
}
