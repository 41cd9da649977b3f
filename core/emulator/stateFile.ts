import { closeSync, fstatSync, fsyncSync, openSync, readSync, readvSync, renameSync, rmSync, writeSync, writevSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { deflateRaw, inflateRaw } from "node:zlib";
import { err, ok, type Result } from "../base/result";
import {
  checksum, chunkPages, emitHeader, firstChunkAt, headerBytes, pageBytes, parseDescription, parseHeader,
  type StateDescription, type StateHeader, type StateRegion,
} from "./stateFormat";

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** Chunks compressed at the same time; the system's threads are four. */
const parallelChunks = 4;

export interface RegionSource {
  readonly name: StateRegion["name"];
  readonly bytes: Uint8Array;
  /** Whether the page is all zeroes. */
  isZero(page: number): boolean;
}

export interface SaveControl {
  /** Bytes of pages done and to do. */
  progress(done: number, total: number): void;
  isCancelled(): boolean;
}

/**
 * Writes a state under a temporary name and puts it in place when it is whole and on the disk.
 * Returns the bytes of pages stored and the file's. Throws what the system throws; nothing is left behind then.
 */
export async function writeState(
  path: string,
  description: Omit<StateDescription, "regions">,
  regions: readonly RegionSource[],
  compress: boolean,
  control: SaveControl,
): Promise<Result<{ stored: number; file: number }>> {
  const temporary = `${path}.${process.pid}.part`;
  const fd = openSync(temporary, "w", 0o600);
  let whole = false;
  try {
    const runs = regions.map((region) => findRuns(region));
    const total = runs.flat().reduce((sum, [, count]) => sum + count * pageBytes, 0);
    let at = firstChunkAt;
    let done = 0;
    const written: StateRegion[] = [];
    for (const [index, region] of regions.entries()) {
      const regionRuns = runs[index] ?? [];
      const groups = groupRuns(regionRuns);
      const chunks: [number, number][] = [];
      for (let first = 0; first < groups.length; first += parallelChunks) {
        if (control.isCancelled()) return err("cancelled");
        const group = groups.slice(first, first + parallelChunks);
        const encoded = await Promise.all(group.map((pieces) => encodeChunk(region.bytes, pieces, compress)));
        for (const chunk of encoded) {
          writeAll(fd, chunk.data, at);
          chunks.push([chunk.length, chunk.checksum]);
          at += chunk.length;
          done += chunk.pages * pageBytes;
        }
        control.progress(done, total);
        // Lets messages through, a cancellation among them.
        await new Promise((resolve) => setImmediate(resolve));
      }
      written.push({ name: region.name, bytes: region.bytes.length, runs: regionRuns, chunks });
    }
    const text = new TextEncoder().encode(JSON.stringify({ ...description, regions: written } satisfies StateDescription));
    writeAll(fd, [text], at);
    const header = emitHeader({
      compressed: compress,
      fileBytes: at + text.length,
      descriptionAt: at,
      descriptionBytes: text.length,
      descriptionChecksum: checksum(text),
    });
    writeAll(fd, [header], 0);
    fsyncSync(fd);
    whole = true;
    return ok({ stored: total, file: at + text.length });
  } finally {
    closeSync(fd);
    if (whole) {
      renameSync(temporary, path);
      syncDirectory(dirname(path));
    } else {
      rmSync(temporary, { force: true });
    }
  }
}

/** An opened state whose header and description are checked. Close it in any case. */
export interface OpenedState {
  readonly header: StateHeader;
  readonly description: StateDescription;
  /**
   * Reads a region's pages into `target`, which the caller has made all zeroes elsewhere.
   * Damage is told after it was read: the target is of no use then.
   */
  readRegion(region: StateRegion, target: Uint8Array): Promise<Result<null>>;
  close(): void;
}

export function openState(path: string): Result<OpenedState> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    return err((error as Error).message);
  }
  let opened: ReturnType<typeof readDescription>;
  try {
    opened = readDescription(fd);
  } catch (error) {
    // A directory, or a disk that cannot be read.
    opened = err((error as Error).message);
  }
  if (!opened.ok) {
    closeSync(fd);
    return opened;
  }
  const { value } = opened;
  return ok({
    header: value.header,
    description: value.description,
    readRegion: (region, target) => readRegion(fd, value, region, target),
    close: () => closeSync(fd),
  });
}

function readDescription(fd: number): Result<{ header: StateHeader; description: StateDescription }> {
  const size = fstatSync(fd).size;
  const first = new Uint8Array(headerBytes);
  if (readFully(fd, first, 0) < headerBytes) return err("it is not a saved state");
  const header = parseHeader(first, size);
  if (!header.ok) return header;
  const text = new Uint8Array(header.value.descriptionBytes);
  if (readFully(fd, text, header.value.descriptionAt) < text.length) return err("it was cut short");
  const description = parseDescription(text, header.value);
  return description.ok ? ok({ header: header.value, description: description.value }) : description;
}

async function readRegion(
  fd: number,
  state: { header: StateHeader; description: StateDescription },
  region: StateRegion,
  target: Uint8Array,
): Promise<Result<null>> {
  if (region.bytes !== target.length) return err("its description is damaged");
  let at = firstChunkAt;
  for (const earlier of state.description.regions) {
    if (earlier === region) break;
    for (const [length] of earlier.chunks) at += length;
  }
  const groups = groupRuns(region.runs);
  for (let first = 0; first < groups.length; first += parallelChunks) {
    const group = groups.slice(first, first + parallelChunks);
    const places = group.map((_, index) => {
      const place = at;
      at += region.chunks[first + index]?.[0] ?? 0;
      return place;
    });
    const good = state.header.compressed
      ? await Promise.all(group.map((runs, index) => inflateChunk(fd, runs, places[index] ?? 0, region.chunks[first + index], target)))
      : group.map((runs, index) => readChunk(fd, runs, places[index] ?? 0, region.chunks[first + index], target));
    if (good.includes(false)) return err("its contents are damaged");
  }
  return ok(null);
}

type Run = readonly [number, number];

function findRuns(region: RegionSource): Run[] {
  const runs: [number, number][] = [];
  const pages = Math.ceil(region.bytes.length / pageBytes);
  let open: [number, number] | undefined;
  for (let page = 0; page < pages; page++) {
    if (region.isZero(page)) open = undefined;
    else if (open) open[1]++;
    else runs.push((open = [page, 1]));
  }
  return runs;
}

/** Deals runs into chunks of `chunkPages` pages, the last one shorter. */
function groupRuns(runs: readonly Run[]): Run[][] {
  const groups: Run[][] = [];
  let room = 0;
  for (let [first, count] of runs) {
    while (count > 0) {
      if (room === 0) {
        groups.push([]);
        room = chunkPages;
      }
      const take = Math.min(room, count);
      groups[groups.length - 1]?.push([first, take]);
      first += take;
      count -= take;
      room -= take;
    }
  }
  return groups;
}

/** The pieces of `bytes` that the runs name; the last page of a region may be short. */
function piecesOf(bytes: Uint8Array, runs: readonly Run[]): Uint8Array[] {
  return runs.map(([first, count]) => bytes.subarray(first * pageBytes, Math.min((first + count) * pageBytes, bytes.length)));
}

function checksumOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => checksum(piece, sum), 0);
}

async function encodeChunk(
  bytes: Uint8Array,
  runs: readonly Run[],
  compress: boolean,
): Promise<{ data: Uint8Array[]; length: number; checksum: number; pages: number }> {
  const pieces = piecesOf(bytes, runs);
  const pages = runs.reduce((sum, [, count]) => sum + count, 0);
  const sum = checksumOf(pieces);
  if (!compress) return { data: pieces, length: pieces.reduce((all, piece) => all + piece.length, 0), checksum: sum, pages };
  const packed: Uint8Array = await deflate(Buffer.concat(pieces), { level: 1 });
  return { data: [packed], length: packed.length, checksum: sum, pages };
}

function readChunk(fd: number, runs: readonly Run[], at: number, entry: readonly [number, number] | undefined, target: Uint8Array): boolean {
  const pieces = piecesOf(target, runs);
  const expected = pieces.reduce((all, piece) => all + piece.length, 0);
  if (!entry || entry[0] !== expected) return false;
  let done = readvSync(fd, pieces, at);
  if (done < expected) {
    // A short read is rare; the pieces are read one by one then.
    done = 0;
    for (const piece of pieces) done += readFully(fd, piece, at + done);
  }
  return done === expected && checksumOf(pieces) === entry[1];
}

async function inflateChunk(
  fd: number,
  runs: readonly Run[],
  at: number,
  entry: readonly [number, number] | undefined,
  target: Uint8Array,
): Promise<boolean> {
  if (!entry) return false;
  const packed = new Uint8Array(entry[0]);
  if (readFully(fd, packed, at) < packed.length) return false;
  const pieces = piecesOf(target, runs);
  const expected = pieces.reduce((all, piece) => all + piece.length, 0);
  let data: Uint8Array;
  try {
    data = await inflate(packed, { maxOutputLength: expected });
  } catch {
    // Damaged data does not inflate; the caller says so.
    return false;
  }
  if (data.length !== expected) return false;
  let done = 0;
  for (const piece of pieces) {
    piece.set(data.subarray(done, done + piece.length));
    done += piece.length;
  }
  return checksumOf(pieces) === entry[1];
}

function writeAll(fd: number, data: readonly Uint8Array[], at: number): void {
  const total = data.reduce((all, piece) => all + piece.length, 0);
  if (writevSync(fd, data as Uint8Array[], at) === total) return;
  // A short write comes just before "no space left": writing on piece by piece brings the error out.
  for (const piece of data) {
    for (let done = 0; done < piece.length; ) done += writeSync(fd, piece, done, piece.length - done, at + done);
    at += piece.length;
  }
}

function readFully(fd: number, target: Uint8Array, at: number): number {
  let done = 0;
  while (done < target.length) {
    const count = readSync(fd, target, done, target.length - done, at + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
