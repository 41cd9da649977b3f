import { TerrariumError } from "../../contract/errors";
import type { ImageFile } from "../blockDevice";
import { l1EntriesFor, limits } from "./format";
import { openFoundation } from "./open";
import { Refcounts } from "./refcount";
import { Writeback } from "./writeback";

/**
 * Makes the disk of an image longer that nobody has open. Behind its old end it reads as zeroes, or as what is below. At a
 * power cut it has the one length or the other. The file stays open.
 * @param size bytes; rounded up to whole sectors
 * @throws TerrariumError `invalid-input` when that is shorter or more than an image can have, or as opening does
 */
export async function growQcow2(file: ImageFile, { name, size }: { readonly name: string; readonly size: number }): Promise<void> {
  const { image, l1, counts } = await openFoundation(file, name);
  const { cluster, clusterBits } = image.geometry;
  const bytes = Math.ceil(size / 512) * 512;
  if (!Number.isSafeInteger(bytes) || bytes < image.header.size) throw new TerrariumError("invalid-input", `The disk in ${name} has ${image.header.size} bytes and can only become longer.`, "Choose a size that is larger than it is now.");
  const entries = l1EntriesFor(bytes, clusterBits);
  if (entries * 8 > limits.l1Bytes) throw new TerrariumError("invalid-input", `An image with clusters of ${cluster} bytes, as ${name} has, cannot be that large.`, "Choose a smaller size, or copy it into an image with larger clusters.");
  if (entries <= image.header.l1Entries) return image.updateHeader({ size: bytes });

  // A longer first table elsewhere; what it leads to stays where it is.
  const writeback = new Writeback(file, (batch) => refcounts.collect(batch));
  const refcounts: Refcounts = new Refcounts(image, counts, () => writeback.commit());
  const clusters = Math.ceil((entries * 8) / cluster);
  const offset = await refcounts.allocateRun(clusters);
  const table = new Uint8Array(clusters * cluster);
  table.set(l1.bytes);
  await file.write(offset, table);
  await writeback.commit();
  await image.updateHeader({ size: bytes, l1Offset: offset, l1Entries: entries });
  refcounts.abandon([{ offset: l1.offset, clusters: Math.ceil(l1.bytes.length / cluster), fresh: false }]);
  await refcounts.settle();
  await writeback.commit();
}
