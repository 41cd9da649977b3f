import { readFile, statfs } from "node:fs/promises";
import { availableParallelism, freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { MiB } from "../base/bytes";
import { isMissing } from "../storage/fileErrors";

/** What this computer has. Memory in MiB, disk in bytes. */
export interface HostFacts {
  readonly platform: string;
  readonly cpus: number;
  readonly memoryTotalMiB: number;
  /** What new processes can have without swapping. */
  readonly memoryAvailableMiB: number;
  /** Free space on the file system the home is on, for this user. */
  readonly diskFreeBytes: number;
  /** The size of that file system. */
  readonly diskTotalBytes: number;
}

export async function readHostFacts(home: string): Promise<HostFacts> {
  const total = memoryLimit();
  return {
    platform: process.platform,
    cpus: availableParallelism(),
    memoryTotalMiB: Math.floor(total / MiB),
    memoryAvailableMiB: Math.floor(Math.min(await availableMemory(), total) / MiB),
    ...(await diskSpace(home)),
  };
}

/** Physical memory, or what a container is limited to, bytes. */
function memoryLimit(): number {
  // Since Node 18.15; 0 or absurdly large without a limit.
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

async function availableMemory(): Promise<number> {
  if (process.platform !== "linux") return freemem();
  return parseAvailable(await readFile("/proc/meminfo", "utf8")) ?? freemem();
}

/** `MemAvailable` of /proc/meminfo in bytes: free memory and what the kernel gives back when it is needed (proc(5)). */
export function parseAvailable(meminfo: string): number | undefined {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo);
  return match ? Number(match[1]) * 1024 : undefined;
}

/** The file system of `path`, or of its nearest folder that exists. */
export async function diskSpace(path: string): Promise<{ diskFreeBytes: number; diskTotalBytes: number }> {
  try {
    const { bavail, blocks, bsize } = await statfs(path);
    return { diskFreeBytes: bavail * bsize, diskTotalBytes: blocks * bsize };
  } catch (failure) {
    if (!isMissing(failure) || dirname(path) === path) throw failure;
    return diskSpace(dirname(path));
  }
}
