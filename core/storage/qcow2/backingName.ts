import { TerrariumError } from "../../contract/errors";
import { emitExtension, endOfExtensions, extensionTypes, limits } from "./format";
import type { Foundation } from "./foundation";

const firstSectorBytes = 512;
const leftOut: ReadonlySet<number> = new Set([extensionTypes.backingFormat, extensionTypes.featureNames, extensionTypes.end]);

export interface BackingName {
  /** As other programs will look for it: best relative to the image's folder. */
  readonly file: string;
  readonly format: string;
}

/**
 * Changes the name of the disk below as it stands in an image's header; undefined for none. At a power cut the image has
 * the one name or the other: what does not fit in the first sector is written where nothing is yet, and then that sector,
 * which has all extensions, leads to it. Names of features, which are there for people, are left out for that.
 * @throws TerrariumError `unsupported` when the header has no room for it
 */
export async function writeBackingName(image: Foundation, headerCluster: Uint8Array, backing: BackingName | undefined): Promise<void> {
  if (!backing) return image.updateHeader({ backing: undefined, backingFormat: undefined }, (sector) => setName(sector, 0, 0));
  const { headerBytes, extensions, clusterBits } = image.header;
  const encoder = new TextEncoder();
  const name = encoder.encode(backing.file);
  const kept = [{ type: extensionTypes.backingFormat, data: encoder.encode(backing.format) }, ...extensions.filter(({ type }) => !leftOut.has(type))];
  const emitted = [...kept, { type: extensionTypes.end, data: new Uint8Array() }].map(emitExtension);
  const free = emitted.reduce((sum, { length }) => sum + length, headerBytes);
  const at = placeOfName(headerCluster.subarray(0, 2 ** clusterBits), headerBytes, free, name.length);
  if (free > firstSectorBytes || name.length > limits.backingNameBytes || at === undefined) {
    throw new TerrariumError("unsupported", `The header of the image ${image.name} has no room for the name of another file below it.`, "Give that file a shorter name, or make the image whole: it then needs none.");
  }
  const inSector = Math.min(name.length, Math.max(0, firstSectorBytes - at));
  if (name.length > inSector) await image.file.write(at + inSector, name.subarray(inSector));
  await image.updateHeader({ backing: backing.file, backingFormat: backing.format, extensions: kept }, (sector) => {
    emitted.reduce((offset, bytes) => (sector.set(bytes, offset), offset + bytes.length), headerBytes);
    if (inSector > 0) sector.set(name.subarray(0, inSector), at);
    setName(sector, at, name.length);
  });
}

/** Where a name can be written while the old one, and the old extensions, still hold. */
function placeOfName(header: Uint8Array, headerBytes: number, free: number, length: number): number | undefined {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const old = [
    { from: headerBytes, to: endOfExtensions(header, headerBytes) },
    { from: Number(view.getBigUint64(8)), to: Number(view.getBigUint64(8)) + view.getUint32(16) },
  ];
  const behind = Math.ceil(Math.max(free, ...old.map(({ to }) => to)) / 8) * 8;
  // The first sector changes at one stroke; behind it nothing that holds may be written over.
  return [free, behind].find((at) => at + length <= header.length && old.every(({ from, to }) => at + length <= Math.max(from, firstSectorBytes) || Math.max(at, firstSectorBytes) >= to));
}

/** qcow2 spec, Header: backing_file_offset and backing_file_size. */
function setName(sector: Uint8Array, offset: number, bytes: number): void {
  const view = new DataView(sector.buffer, sector.byteOffset, sector.byteLength);
  view.setBigUint64(8, BigInt(offset));
  view.setUint32(16, bytes);
}
