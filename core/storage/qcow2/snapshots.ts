import { err, ok, type Result } from "../../base/result";
import type { ImageFile } from "../blockDevice";
import { limits, type Header } from "./format";

/** A snapshot that another program keeps inside the image. We make none, and lose none. */
export interface InternalSnapshot {
  readonly id: string;
  readonly name: string;
  /** Its own L1 table; not checked against anything. */
  readonly l1Offset: number;
  readonly l1Entries: number;
}

export interface SnapshotTable {
  readonly snapshots: readonly InternalSnapshot[];
  /** Of the table in the file. */
  readonly bytes: number;
}

const entryBytes = 40;

/** Reads the table of snapshots (qcow2 spec, Snapshots). The error is the end of a sentence whose subject is the image. */
export async function readSnapshots(file: ImageFile, header: Header): Promise<Result<SnapshotTable>> {
  const snapshots: InternalSnapshot[] = [];
  const head = new Uint8Array(entryBytes);
  const view = new DataView(head.buffer);
  let at = header.snapshotsOffset;
  for (let index = 0; index < header.snapshotCount; index++) {
    if (at + entryBytes > file.length) return err("has a table of snapshots that reaches out of the file");
    await file.read(at, head);
    const [idBytes, nameBytes, extraBytes] = [view.getUint16(12), view.getUint16(14), view.getUint32(36)];
    if (extraBytes > limits.snapshotExtraBytes) return err(`says that snapshot ${index + 1} of its table has ${extraBytes} bytes that are not known`);
    const names = new Uint8Array(idBytes + nameBytes);
    const end = at + entryBytes + extraBytes + names.length;
    if (end > file.length || end - header.snapshotsOffset > limits.snapshotTableBytes) return err("has a table of snapshots that reaches out of the file");
    await file.read(at + entryBytes + extraBytes, names);
    snapshots.push({
      id: new TextDecoder().decode(names.subarray(0, idBytes)),
      name: new TextDecoder().decode(names.subarray(idBytes)),
      l1Offset: Number(view.getBigUint64(0)),
      l1Entries: view.getUint32(8),
    });
    at = header.snapshotsOffset + Math.ceil((end - header.snapshotsOffset) / 8) * 8;
  }
  return ok({ snapshots, bytes: at - header.snapshotsOffset });
}
