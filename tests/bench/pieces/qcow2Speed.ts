import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MiB } from "../../../core/base/bytes";
import { openImageFile } from "../../../core/storage/file";
import { createQcow2, openQcow2, type Qcow2Image } from "../../../core/storage/qcow2";
import { figure, median, milliseconds, say, type Figure } from "./report";

/*
 * Our qcow2 beside `qemu-img bench`: one request after the other, through the cache of the system, which holds all of the
 * image. Both do the same requests on the same image in turns.
 */

const rounds = 5;
const diskBytes = 256 * MiB;

interface Load {
  readonly name: string;
  readonly block: number;
  /** From one request's offset to the next one's; behind the end it goes on at the beginning. */
  readonly step: number;
  readonly count: number;
  readonly write: boolean;
  /** On a new image, all of whose clusters have to be found first. */
  readonly isNew?: boolean;
}

/** An odd number of blocks, so that each block is met once before any is met again, far from the one before. */
const scattered = 4096 * 30_011;
const loads: readonly Load[] = [
  { name: "64 KiB in a row, read", block: 65536, step: 65536, count: 8192, write: false },
  { name: "64 KiB in a row, written", block: 65536, step: 65536, count: 8192, write: true },
  { name: "4 KiB at random, read", block: 4096, step: scattered, count: 40_000, write: false },
  { name: "4 KiB at random, written", block: 4096, step: scattered, count: 40_000, write: true },
  { name: "64 KiB in a row, written to a new image", block: 65536, step: 65536, count: diskBytes / 65536, write: true, isNew: true },
];

async function open(path: string, create: boolean): Promise<Qcow2Image> {
  const file = await openImageFile(path, { readOnly: false, create });
  if (!file.ok) throw new Error(file.error);
  if (create) await createQcow2(file.value, { size: diskBytes });
  return openQcow2(file.value, { name: path, backing: null });
}

/** Seconds for the requests, opening and closing excepted. */
async function ours(path: string, { block, step, count, write, isNew }: Load): Promise<number> {
  if (isNew) await rm(path, { force: true });
  const image = await open(path, isNew ?? false);
  const data = new Uint8Array(block).fill(1);
  const began = performance.now();
  for (let index = 0, offset = 0; index < count; index++) {
    await (write ? image.write(offset, data) : image.read(offset, data));
    offset = (offset + step) % diskBytes;
  }
  const seconds = (performance.now() - began) / 1000;
  await image.close();
  return seconds;
}

/** The same by QEMU, as it says itself. */
function theirs(path: string, { block, step, count, write, isNew }: Load): number {
  if (isNew) execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", path, String(diskBytes)]);
  const said = execFileSync("qemu-img", ["bench", "-f", "qcow2", "-t", "writeback", "-d", "1", "-c", String(count), "-s", String(block), "-S", String(step), ...(write ? ["-w"] : []), path], { encoding: "utf8" });
  const seconds = /Run completed in ([\d.]+) seconds/.exec(said)?.[1];
  if (seconds === undefined) throw new Error(`qemu-img bench said: ${said}`);
  return Number(seconds);
}

export async function measureQcow2(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), "bench-qcow2-"));
  try {
    const full = join(folder, "full.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", full, String(diskBytes)]);
    execFileSync("qemu-io", ["-f", "qcow2", "-c", `write -P 1 0 ${diskBytes}`, full], { stdio: "pipe" });
    const figures: Figure[] = [];
    for (const load of loads) {
      const path = load.isNew ? join(folder, "new.qcow2") : full;
      const times = { ours: [] as number[], theirs: [] as number[] };
      // The first round fills the cache and lets our code be compiled.
      for (let round = 0; round <= rounds; round++) {
        const [mine, other] = [await ours(path, load), theirs(path, load)];
        if (round === 0) continue;
        times.ours.push(mine);
        times.theirs.push(other);
      }
      const rate = (seconds: number): string => `${Math.round((load.count * load.block) / MiB / seconds)} MiB/s`;
      say(`${load.name}: ours ${rate(median(times.ours))}, QEMU ${rate(median(times.theirs))}`);
      figures.push(
        figure(`qcow2, ${load.name}: ours against qemu-img bench`, median(times.theirs) / median(times.ours), "", load.isNew ? undefined : { atLeast: 0.5 }, {
          ...{ oursMilliseconds: milliseconds(times.ours.map((each) => each * 1000)), qemuMilliseconds: milliseconds(times.theirs.map((each) => each * 1000)) },
          ...{ ours: rate(median(times.ours)), qemu: rate(median(times.theirs)) },
        }),
      );
    }
    return figures;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
