import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { dirname, isAbsolute, join, posix, relative } from "node:path";
import { TerrariumError } from "../contract/errors";
import type { DiskConfig, LayerConfig } from "../contract/model";
import { layerFile, noFile } from "../engine/engine";
import { fileError } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { isThere } from "./machineFolders";
import { createOverlay, overlayBytes } from "./overlay";

/** Layers that a disk may have at most: each costs a file that is held open, and a look into it for every block that is read. */
const mostLayers = 200;

const madeHere = /^[0-9a-f]{8}\.qcow2$/;

/** Whether a layer's file has a name that only snapshots give. */
export function isMadeHere(name: string): boolean {
  return madeHere.test(name);
}

/** New, empty layers on the disks of a machine. */
export interface Growth {
  /** The disks with them. */
  readonly disks: DiskConfig[];
  /** Removes them; no list may name them. */
  undo(): Promise<void>;
}

/**
 * Makes a new, empty layer for every disk; all of them are on the disk, with their names, when this resolves. Nothing is left
 * when it fails.
 * @throws TerrariumError
 */
export async function growDisks(folder: string, disks: readonly DiskConfig[], steps: Steps): Promise<Growth> {
  const made: string[] = [];
  const undo = async (): Promise<void> => {
    for (const path of made) await steps.removeFile(path);
  };
  try {
    const grown: DiskConfig[] = [];
    for (const disk of disks) {
      const top = disk.layers[disk.layers.length - 1];
      if (!top) throw noFile(disk);
      if (disk.layers.length >= mostLayers) throw new TerrariumError("unsupported", `The disk ${disk.id} has ${disk.layers.length} layers already.`, "Delete snapshots that are not needed any more, and empty the trash.");
      const place = ownFolder(disk);
      for (const each of ["disks", place]) if (!(await isThere(join(folder, each)))) await steps.makeFolder(join(folder, each));
      const layer: LayerConfig = { file: posix.join(place, `${randomBytes(4).toString("hex")}.qcow2`), format: "qcow2" };
      const path = join(folder, layer.file);
      const sizeBytes = Math.max(disk.sizeBytes, await shownBytes(layerFile(top, folder), top.format));
      made.push(path);
      await createOverlay(path, sizeBytes, { file: isAbsolute(top.file) ? top.file : relative(dirname(path), layerFile(top, folder)), format: top.format }, steps);
      grown.push({ ...disk, layers: [...disk.layers, layer] });
    }
    for (const place of new Set(made.map((path) => dirname(path)))) await steps.syncFolder(place);
    return { disks: grown, undo };
  } catch (failure) {
    await undo();
    throw fileError(failure, "A new layer could not be made", folder);
  }
}

/** The folder, in the machine's, where a disk's layers are made. One that lies elsewhere as a whole gets the one of its name. */
function ownFolder(disk: DiskConfig): string {
  const own = disk.layers.filter((layer) => !isAbsolute(layer.file)).pop();
  const place = own === undefined ? "" : posix.dirname(own.file);
  return place.startsWith("disks/") ? place : `disks/${disk.id}`;
}

/** How long a disk the guest is shown from an image: an image that was linked may be longer than it was. */
async function shownBytes(path: string, format: LayerConfig["format"]): Promise<number> {
  return format === "raw" ? Math.ceil((await stat(path)).size / 512) * 512 : overlayBytes(path);
}
