import { TerrariumError } from "../../contract/errors";
import { ReferenceCounts } from "./counting";
import { compressedFlag, compressedRange, copiedFlag, entryOffset, l1ReservedBits, l2ReservedBits, zeroFlag } from "./entries";
import { bitmapsBit, extensionTypes, limits } from "./format";
import type { Foundation } from "./foundation";
import { readSnapshots } from "./snapshots";

/** Of longer tables so much is read at once, bytes. */
const pieceBytes = 64 * 1024;
/** Messages kept. Of a broken image more would help nobody. */
const mostMessages = 100;
/** A directory of bitmaps has not more (qcow2 spec, Bitmaps; QEMU's limits). */
const mostBitmaps = 65535;
const mostBitmapTableEntries = 0x0800_0000;

/** What is wrong with an image's tables. */
export class Findings {
  corruptions = 0;
  leaks = 0;
  readonly messages: string[] = [];

  corrupt(message: string): void {
    this.corruptions++;
    if (this.messages.length < mostMessages) this.messages.push(message);
  }
}

/**
 * Goes through everything that leads to a cluster and counts it: what the counts in the file have to be. Reads every L2
 * table, of snapshots too. qcow2 spec, Host cluster management; the checks are those of `qemu-img check`.
 */
export class References {
  /** By everything but the counts' own tables. */
  readonly counts: ReferenceCounts;
  /** The disk's L2 tables, bytes; not those that snapshots alone have. */
  readonly activeL2: number[] = [];

  constructor(
    private readonly image: Foundation,
    private readonly findings: Findings,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.counts = new ReferenceCounts(image.geometry.cluster);
  }

  async collect(): Promise<void> {
    const { header, geometry } = this.image;
    this.add(0, geometry.cluster, "the header");
    await this.addL1(header.l1Offset, header.l1Entries, "the first table", this.activeL2);
    const snapshots = await readSnapshots(this.image.file, header);
    if (!snapshots.ok) return this.findings.corrupt(`The image ${snapshots.error}`);
    this.add(header.snapshotsOffset, snapshots.value.bytes, "the table of snapshots");
    for (const { id, l1Offset, l1Entries } of snapshots.value.snapshots) {
      const what = `the first table of snapshot "${id}"`;
      if (l1Offset % geometry.cluster !== 0 || l1Entries * 8 > limits.l1Bytes || l1Offset > this.image.file.length) this.findings.corrupt(`${what} is where none can be`);
      else await this.addL1(l1Offset, l1Entries, what, undefined);
    }
    await this.addBitmaps();
  }

  /** Counts what leads to [offset, offset + bytes), which may reach out of the file by less than a cluster: the last one need not be whole. */
  add(offset: number, bytes: number, what: string): void {
    const { file, geometry, name } = this.image;
    if (bytes > 0 && offset + bytes - file.length >= geometry.cluster) this.findings.corrupt(`${what} is at byte ${offset}, behind the end of the file`);
    else if (!this.counts.add(offset, bytes)) throw new TerrariumError("unsupported", `The image ${name} is too large to be checked here.`, "Check it with QEMU: qemu-img check");
  }

  private async addL1(offset: number, entries: number, what: string, into: number[] | undefined): Promise<void> {
    this.add(offset, entries * 8, what);
    const { cluster } = this.image.geometry;
    await this.eachEntry(offset, entries, async (high, low) => {
      if (l1ReservedBits(high, low)) this.findings.corrupt(`an entry of ${what} has bits that mean nothing`);
      const l2 = entryOffset(high, low);
      if (l2 === 0) return;
      this.add(l2, cluster, "a second table");
      if (l2 % cluster !== 0) return this.findings.corrupt(`${what} leads to byte ${l2}, where no cluster begins`);
      if (l2 >= this.image.file.length) return;
      into?.push(l2);
      await this.eachEntry(l2, cluster / 8, (high, low) => this.addData(high, low));
    });
  }

  private addData(high: number, low: number): void {
    const { cluster, clusterBits } = this.image.geometry;
    if ((high & compressedFlag) !== 0) {
      if ((high & copiedFlag) !== 0) this.findings.corrupt("a compressed cluster is marked as one that may be written");
      const { offset, length } = compressedRange(high, low, clusterBits);
      return this.add(offset, length, "compressed data");
    }
    if (l2ReservedBits(high, low)) this.findings.corrupt("an entry of a second table has bits that mean nothing");
    const offset = entryOffset(high, low);
    if (offset === 0) return;
    if (offset % cluster !== 0) this.findings.corrupt(`data is at byte ${offset}, where no cluster begins`);
    if ((low & zeroFlag) !== 0 && this.image.header.version === 2) this.findings.corrupt("an image of version 2 has a mark for zeroes");
    this.add(offset, cluster, "data");
  }

  /** qcow2 spec, Bitmaps. They count as long as they are said to be up to date. */
  private async addBitmaps(): Promise<void> {
    const { header, file, geometry } = this.image;
    const extension = header.extensions.find(({ type }) => type === extensionTypes.bitmaps)?.data;
    if (!extension || extension.length < 24 || (header.autoclear & bitmapsBit) === 0n) return;
    const view = new DataView(extension.buffer, extension.byteOffset, extension.byteLength);
    const [count, bytes, offset] = [view.getUint32(0), Number(view.getBigUint64(8)), Number(view.getBigUint64(16))];
    if (count > mostBitmaps || offset + bytes > file.length) return this.findings.corrupt("the list of bitmaps is where none can be");
    this.add(offset, bytes, "the list of bitmaps");
    const entry = new DataView(new ArrayBuffer(24));
    let at = offset;
    for (let index = 0; index < count; index++) {
      if (at + 24 > offset + bytes) return this.findings.corrupt("the list of bitmaps ends too early");
      await file.read(at, new Uint8Array(entry.buffer));
      const [tableOffset, entries] = [Number(entry.getBigUint64(0)), entry.getUint32(8)];
      if (entries > mostBitmapTableEntries || tableOffset + entries * 8 > file.length) return this.findings.corrupt("the table of a bitmap is where none can be");
      this.add(tableOffset, entries * 8, "the table of a bitmap");
      await this.eachEntry(tableOffset, entries, (high, low) => {
        if (entryOffset(high, low) !== 0) this.add(entryOffset(high, low), geometry.cluster, "a bitmap");
      });
      at += Math.ceil((24 + entry.getUint16(18) + entry.getUint32(20)) / 8) * 8;
    }
  }

  private async eachEntry(offset: number, entries: number, visit: (high: number, low: number) => void | Promise<void>): Promise<void> {
    for (let done = 0; done < entries; done += pieceBytes / 8) {
      this.signal?.throwIfAborted();
      const piece = new DataView(new ArrayBuffer(Math.min(pieceBytes, (entries - done) * 8)));
      await this.image.file.read(offset + done * 8, new Uint8Array(piece.buffer));
      for (let at = 0; at < piece.byteLength; at += 8) {
        const [high, low] = [piece.getUint32(at), piece.getUint32(at + 4)];
        if (high === 0 && low === 0) continue;
        const visited = visit(high, low);
        if (visited) await visited;
      }
    }
  }
}
