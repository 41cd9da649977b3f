import { TerrariumError } from "../../contract/errors";
import type { BlockDevice, ImageFile } from "../blockDevice";
import { canDecompress } from "./compression";
import { entryOffset } from "./entries";
import { incompatibleBits, limits, longHeaderBytes, parseHeader, shortHeaderBytes, headerFields } from "./format";
import { Foundation } from "./foundation";
import { Qcow2Image } from "./image";
import { Refcounts } from "./refcount";
import { readSnapshots } from "./snapshots";
import { Table } from "./table";

export interface OpenOptions {
  /** For messages: the image's path. */
  readonly name: string;
  /** What shows where the image has nothing; null for zeroes. Stays its opener's. The name inside the image is never followed. */
  readonly backing: BlockDevice | null;
  /** Of the image's tables so many bytes of each kind are kept in memory, about. */
  readonly cacheBytes?: number;
}

/**
 * Opens a qcow2 image, for writing if its file is. The file belongs to the image from now on, and is closed when this fails.
 * An image that was not closed properly is writable only when its reference counts can be trusted: see `repairQcow2`.
 * @throws TerrariumError `image-unusable`, `unsupported` (saying which feature), or the system's error
 */
export async function openQcow2(file: ImageFile, { name, backing, cacheBytes }: OpenOptions): Promise<Qcow2Image> {
  try {
    const { image, l1, counts } = file.readOnly ? await readOnlyFoundation(file, name, cacheBytes) : await openFoundation(file, name, cacheBytes);
    if (!canDecompress(image.header.compression)) throw new TerrariumError("unsupported", `The image ${name} is compressed by ${image.header.compression}, which cannot be read here.`, `Convert it first: qemu-img convert -O qcow2 "${name}" other.qcow2`);
    return new Qcow2Image(image, l1, counts && ((commit) => new Refcounts(image, counts, commit)), backing);
  } catch (failure) {
    await file.close();
    throw failure;
  }
}

interface Opened {
  readonly image: Foundation;
  readonly l1: Table;
  /** The table of reference counts, for whoever writes. */
  readonly counts?: Table;
}

async function readOnlyFoundation(file: ImageFile, name: string, cacheBytes?: number): Promise<Opened> {
  const image = await readFoundation(file, name, cacheBytes);
  return { image, l1: await readTable(image, image.header.l1Offset, image.header.l1Entries * 8, "its first table") };
}

/** What writing to an image begins with. @throws TerrariumError */
export async function openFoundation(file: ImageFile, name: string, cacheBytes?: number): Promise<Opened & { readonly counts: Table }> {
  const { image, l1 } = await readOnlyFoundation(file, name, cacheBytes);
  requireTrusted(image);
  const counts = await readTable(image, image.header.refcountTableOffset, image.header.refcountTableClusters * image.geometry.cluster, "its table of reference counts");
  await placeTables(image, l1, counts);
  // Features that nobody has to know to write, such as bitmaps of changes, say by these bits that they are up to date.
  if (image.header.autoclear !== 0n) await image.updateHeader({ autoclear: 0n });
  return { image, l1, counts };
}

/** Reads the header alone, refusing what cannot be read here. */
export async function readFoundation(file: ImageFile, name: string, cacheBytes?: number): Promise<Foundation> {
  const bytes = await readHeaderCluster(file);
  const header = parseHeader(bytes);
  if (!header.ok) throw refusal(name, header.error);
  return new Foundation(file, name, header.value, bytes.slice(0, 512), cacheBytes);
}

/** The first cluster, as far as the file has it. */
export async function readHeaderCluster(file: ImageFile): Promise<Uint8Array> {
  const head = new Uint8Array(Math.min(longHeaderBytes, file.length));
  await file.read(0, head);
  const bits = head.length < shortHeaderBytes ? 0 : (headerFields(head)?.clusterBits ?? 0);
  const bytes = new Uint8Array(Math.min(file.length, 2 ** Math.min(Math.max(bits, limits.clusterBits.least), limits.clusterBits.most)));
  await file.read(0, bytes);
  return bytes;
}

/** Reads a table that has to be inside the file. */
export async function readTable(image: Foundation, offset: number, length: number, what: string): Promise<Table> {
  if (offset + length > image.file.length) throw image.unusable(`it is cut off: ${what} ends at byte ${offset + length}, and the file has ${image.file.length}`);
  const table = new Table(offset, new Uint8Array(length), true);
  await image.file.read(offset, table.bytes);
  return table;
}

function refusal(name: string, { code, because }: { readonly code: "image-unusable" | "unsupported"; readonly because: string }): TerrariumError {
  return code === "unsupported"
    ? new TerrariumError(code, `The image ${name} ${because}.`, `If another program can open it, convert it there: qemu-img convert -O qcow2 "${name}" other.qcow2`)
    : new TerrariumError(code, `The image ${name} ${because}.`, "Choose another file, or go back to a snapshot or a copy.");
}

/** Whoever writes relies on the counts: a cluster that is counted as free may be used. */
function requireTrusted(image: Foundation): void {
  const { incompatible } = image.header;
  if (incompatible & incompatibleBits.corrupt) throw image.unusable("it was marked as damaged by the program that wrote it");
  if (incompatible & incompatibleBits.dirty) throw new TerrariumError("image-unusable", `The image ${image.name} was not closed by the program that wrote it, and its reference counts are out of date.`, "Have the disk checked and repaired first; nothing of it is lost.");
}

/** Notes where the image's own tables are, so that nothing else is ever written there. */
async function placeTables(image: Foundation, l1: Table, counts: Table): Promise<void> {
  const { header, tables, geometry } = image;
  tables.addArea(0, geometry.cluster);
  tables.addArea(l1.offset, l1.bytes.length);
  tables.addArea(counts.offset, counts.bytes.length);
  for (const { bytes, view } of [l1, counts]) {
    for (let at = 0; at < bytes.length; at += 8) {
      // What leads out of the file is told when it is used, and not remembered: hostile tables are full of it.
      const offset = entryOffset(view.getUint32(at), view.getUint32(at + 4));
      if (offset !== 0 && offset < image.file.length) tables.add(offset);
    }
  }
  const snapshots = await readSnapshots(image.file, header);
  if (!snapshots.ok) throw image.unusable(`it ${snapshots.error}`);
  tables.addArea(header.snapshotsOffset, snapshots.value.bytes);
  for (const { l1Offset, l1Entries } of snapshots.value.snapshots) tables.addArea(l1Offset, l1Entries * 8);
}
