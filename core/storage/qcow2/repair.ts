import { TerrariumError } from "../../contract/errors";
import type { ImageFile } from "../blockDevice";
import { checkQcow2, eachCopiedEntry, examine, type CheckOptions, type CheckReport, type Examination } from "./check";
import { copiedFlag, mostReferences, refcountAt, refcountPosition, setRefcount } from "./entries";
import { incompatibleBits, limits } from "./format";
import { areaBlock, enterBlocks, planArea } from "./refcountArea";
import { Table, type TableWrite } from "./table";

export interface RepairReport {
  readonly before: CheckReport;
  /** What could not be mended: entries that lead nowhere sensible. */
  readonly after: CheckReport;
}

/**
 * Mends an image that nobody else has open: leaked clusters become free, wrong reference counts and marks right, and an
 * image that was not closed, or was marked as damaged, writable again when nothing is left that is wrong. Data is not
 * touched. At a power cut the image is as before, or somewhat better. The file stays open.
 * @throws TerrariumError when the image cannot be opened or mended, or the system's error
 */
export async function repairQcow2(file: ImageFile, { name, signal }: CheckOptions): Promise<RepairReport> {
  const examination = await examine(file, name, signal);
  const { image, findings } = examination;
  const isDirty = (image.header.incompatible & incompatibleBits.dirty) !== 0n;
  if (findings.corruptions > 0 || isDirty) {
    // Marks that are missing cost space alone, marks too many cost data: they go first and come last.
    await mark(examination, signal, "remove");
    if (examination.countsAreWrong) await rebuild(examination);
    else await free(examination, signal);
    if (image.header.incompatible & incompatibleBits.dirty) await image.updateHeader({ incompatible: image.header.incompatible & ~incompatibleBits.dirty });
    await mark(examination, signal, "add");
  } else if (findings.leaks > 0) await free(examination, signal);
  await file.flush();
  const after = await checkQcow2(file, { name, ...(signal ? { signal } : {}) });
  if (after.corruptions === 0 && image.header.incompatible & incompatibleBits.corrupt) await image.updateHeader({ incompatible: image.header.incompatible & ~incompatibleBits.corrupt });
  return { before: findings, after };
}

async function mark({ image, references }: Examination, signal: AbortSignal | undefined, what: "add" | "remove"): Promise<void> {
  await eachCopiedEntry(image, references, signal, (high, _low, offset) => {
    const isOne = references.counts.get(offset / image.geometry.cluster) === 1;
    const has = (high & copiedFlag) !== 0;
    if (what === "remove" && has && !isOne) return Promise.resolve(high & ~copiedFlag);
    return Promise.resolve(what === "add" && !has && isOne ? high | copiedFlag : undefined);
  });
  await image.file.flush();
}

/** Lowers the counts that are too high, where they are. */
async function free({ image, blocks, total }: Examination, signal: AbortSignal | undefined): Promise<void> {
  const { perBlock, refcountOrder } = image.geometry;
  for (const range of blocks.ranges()) {
    signal?.throwIfAborted();
    const view = await blocks.block(range);
    const offset = blocks.offset(range);
    if (!view || offset === undefined) continue;
    const block = new Table(offset, new Uint8Array(view.buffer), true);
    for (let index = 0; index < perBlock; index++) {
      const counted = refcountAt(view, index, refcountOrder);
      if (counted === 0) continue;
      const wanted = total(range * perBlock + index);
      if (counted <= wanted) continue;
      setRefcount(view, index, refcountOrder, wanted);
      block.touch(refcountPosition(index, refcountOrder));
    }
    const writes: TableWrite[] = [];
    if (block.isDirty) block.take(writes);
    for (const write of writes) await image.file.write(write.offset, write.data);
  }
}

/** Writes all counts anew behind the end of the file, and makes them the image's at one stroke; the old ones become free. */
async function rebuild({ image, references, blocks }: Examination): Promise<void> {
  const { geometry, file, header, name } = image;
  const { perBlock, refcountOrder, cluster } = geometry;
  const first = Math.max(Math.ceil(file.length / cluster), references.counts.end);
  const area = planArea(geometry, first, references.counts.ranges(perBlock), blocks.table.bytes.length / 8, 0);
  const tableBytes = area.tableClusters * cluster;
  if (tableBytes > Math.max(limits.refcountTableBytes, blocks.table.bytes.length)) throw new TerrariumError("unsupported", `The image ${name} cannot be mended: its reference counts would need a table that is larger than any program takes.`, "Go back to a snapshot or a copy.");
  for (const [index, range] of area.ranges.entries()) {
    const block = areaBlock(geometry, area, range);
    for (let number = range * perBlock; number < (range + 1) * perBlock; number++) {
      const count = references.counts.get(number);
      if (count > mostReferences(refcountOrder)) throw new TerrariumError("unsupported", `The image ${name} cannot be mended: its cluster at byte ${number * cluster} is used ${count} times, and its counts are too small for that.`, "Go back to a snapshot or a copy.");
      if (count > 0) setRefcount(block, number % perBlock, refcountOrder, count);
    }
    await file.write((area.first + index) * cluster, new Uint8Array(block.buffer));
  }
  const table = new DataView(new ArrayBuffer(tableBytes));
  enterBlocks(geometry, area, table);
  await file.write(area.tableAt * cluster, new Uint8Array(table.buffer));
  await image.updateHeader({ refcountTableOffset: area.tableAt * cluster, refcountTableClusters: area.tableClusters, incompatible: header.incompatible & ~incompatibleBits.dirty });
}
