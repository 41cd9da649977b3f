import { open } from "node:fs/promises";
import { TerrariumError } from "../contract/errors";
import { openImageFile } from "../storage/file";
import { createQcow2, qcow2Fields, qcow2HeaderBytes } from "../storage/qcow2";
import type { Steps } from "../storage/steps";

/*
 * A new layer: a qcow2 image without any data of its own. What lies under it is said in machine.json; the name in the image is
 * for other programs only.
 */

const magic = 0x514649fb;
/** An L1 table that is larger is not read into memory: no disk that is made here has one. */
const mostL1Entries = 1 << 20;
/** A longer name does not fit into an image (qcow2 spec, header). */
const longestBacking = 1023;

/** What a new layer takes on the host at most, with its tables: four clusters, and what the file system rounds up to. */
export const emptyLayerBytes = 5 * 65536;

export interface Backing {
  /** As the image names it: relative to its own folder. */
  readonly file: string;
  readonly format: "raw" | "qcow2";
}

/** Makes an empty layer of a disk of `sizeBytes`. It is on the disk when this resolves; its name is, when its folder is synced. */
export async function createOverlay(path: string, sizeBytes: number, backing: Backing, steps: Steps): Promise<void> {
  await steps.at("create", path);
  const opened = await openImageFile(path, { readOnly: false, create: true });
  if (!opened.ok) throw new TerrariumError("io", `A new layer could not be made: ${opened.error}`, "Look at the folder it is made in.");
  const file = opened.value;
  const numbered = {
    ...{ length: 0, readOnly: false },
    read: (offset: number, target: Uint8Array) => file.read(offset, target),
    write: async (offset: number, data: Uint8Array) => {
      await steps.at("write", path);
      await file.write(offset, data);
    },
    flush: async () => {
      await steps.at("sync", path);
      await file.flush();
    },
    truncate: (length: number) => file.truncate(length),
    close: () => file.close(),
  };
  try {
    await createQcow2(numbered, { size: sizeBytes, ...(Buffer.byteLength(backing.file) <= longestBacking ? { backing } : {}) });
  } finally {
    await file.close();
  }
}

/** How long the disk in a qcow2 image is. @throws TerrariumError `image-unusable` */
export async function overlayBytes(path: string): Promise<number> {
  const fields = await readAt(path, (read) => read(0, qcow2HeaderBytes).then(qcow2Fields));
  if (fields?.magic !== magic || fields.size > BigInt(Number.MAX_SAFE_INTEGER)) throw new TerrariumError("image-unusable", `${path} is no whole QCOW2 image.`, "Put the disk's file back.");
  return Number(fields.size);
}

/** Whether nothing was ever written to a layer: none of its clusters leads anywhere, or it was not even finished, which its header is the last part of. */
export async function isUnwritten(path: string): Promise<boolean> {
  return readAt(path, async (read, size) => {
    const head = await read(0, qcow2HeaderBytes);
    if (head.every((byte) => byte === 0)) return true;
    const fields = qcow2Fields(head);
    if (fields?.magic !== magic || fields.snapshotCount !== 0 || fields.l1Entries > mostL1Entries || fields.l1Offset > BigInt(size)) return false;
    const table = await read(Number(fields.l1Offset), fields.l1Entries * 8);
    return table.length === fields.l1Entries * 8 && table.every((byte) => byte === 0);
  });
}

/** Reads pieces of a file, shorter ones at its end. */
async function readAt<T>(path: string, work: (read: (offset: number, length: number) => Promise<Uint8Array>, size: number) => Promise<T>): Promise<T> {
  const file = await open(path, "r");
  try {
    return await work(
      async (offset, length) => {
        const bytes = new Uint8Array(length);
        const { bytesRead } = await file.read(bytes, 0, length, offset);
        return bytes.subarray(0, bytesRead);
      },
      (await file.stat()).size,
    );
  } finally {
    await file.close();
  }
}
