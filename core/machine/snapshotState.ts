import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { MiB } from "../base/bytes";
import type { MachineConfig } from "../contract/model";
import type { Steps } from "../storage/steps";
import { isThere } from "./machineFolders";
import { parts } from "./snapshotFile";
import { bytesOf } from "./snapshotTree";

/*
 * The memory in a snapshot: `state`, and after a while `state.gz` in its stead. Each is whole when it has its name, so that
 * either will do while both are there.
 */

/** The least: it runs beside guests, and zeroes are most of what there is to gain. */
const compressionLevel = 1;

/** Makes a snapshot's state smaller. Cancelled, or when it fails, it stays as it is. */
export async function compressState(place: string, steps: Steps, signal: AbortSignal): Promise<void> {
  const state = join(place, parts.state);
  const unfinished = join(place, `${parts.packed}.tmp`);
  if (!(await isThere(state))) return;
  try {
    await steps.at("create", unfinished);
    await pipeline(createReadStream(state), createGzip({ level: compressionLevel }), createWriteStream(unfinished, { flags: "wx", mode: 0o600 }), { signal });
    await steps.sync(unfinished);
    await steps.rename(unfinished, join(place, parts.packed));
  } catch (failure) {
    await steps.removeFile(unfinished);
    throw failure;
  }
  await steps.removeFile(state);
}

/** Lays a snapshot's state out at `target`: shared where it can be. */
export async function layOutState(place: string, target: string, steps: Steps, signal: AbortSignal): Promise<void> {
  if (await isThere(join(place, parts.state))) return steps.linkOrCopy(join(place, parts.state), target);
  await steps.at("create", target);
  await pipeline(createReadStream(join(place, parts.packed)), createGunzip(), createWriteStream(target, { flags: "wx", mode: 0o600 }), { signal });
  await steps.sync(target);
}

/** Removes what a crash has left of a compressing. */
export async function recoverState(place: string, steps: Steps): Promise<void> {
  const unfinished = join(place, `${parts.packed}.tmp`);
  if (await isThere(unfinished)) await steps.removeFile(unfinished);
  if ((await isThere(join(place, parts.packed))) && (await isThere(join(place, parts.state)))) await steps.removeFile(join(place, parts.state));
}

/** What a snapshot's state takes now, and, at most, laid out. */
export async function stateBytes(place: string, config: MachineConfig): Promise<{ packed: number; unpacked: number }> {
  const plain = await bytesOf(join(place, parts.state));
  const packed = await bytesOf(join(place, parts.packed));
  // A state that is shared takes nothing more where the file system has links; who has none needs as much again.
  return { packed: plain + packed, unpacked: plain > 0 ? plain : packed > 0 ? config.memoryMiB * MiB : 0 };
}
