import { open, readFile, rename, rm, stat } from "node:fs/promises";
import * as z from "zod";
import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import { SavedLease } from "./services/dhcp";

/** Leases of all networks, by segment; those that changed last come last. */
export type SavedLeases = Record<string, readonly SavedLease[]>;

const FileShape = z.object({ version: z.literal(1), leases: z.record(z.string(), z.array(z.unknown())) });

const maxFileBytes = 8 * 1024 * 1024;
/** Guests decide how much is written: the networks whose leases changed longest ago are forgotten first. */
const maxSegments = 256;
const maxLeases = 1024;
/** Changes that come close together are written once. */
const gatherMs = 500;

/**
 * `leases.json`: which guest has had which address, so that it gets the same again. Nothing else depends on it: a file
 * that cannot be read is as good as none.
 */
export class LeaseFile {
  private leases: SavedLeases = {};
  private writing: Promise<void> | undefined;
  private isDirty = false;

  constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  async load(): Promise<SavedLeases> {
    try {
      if ((await stat(this.path)).size <= maxFileBytes) this.leases = parseLeases(await readFile(this.path, "utf8"));
      else this.log.warn(`${this.path} is too long and is not used`);
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing) this.log.warn(`${this.path} cannot be used: ${error instanceof Error ? error.message : String(error)}`);
    }
    return this.leases;
  }

  /** Notes the leases of a segment, and writes them soon. */
  save(segment: string, leases: readonly SavedLease[]): void {
    const { [segment]: _before, ...others } = this.leases;
    const kept = [...Object.entries(others), [segment, leases.slice(-maxLeases)] as const].slice(-maxSegments);
    this.leases = Object.fromEntries(kept);
    this.isDirty = true;
    this.writing ??= this.writeSoon();
  }

  /** Resolves when everything is on the disk. */
  async settled(): Promise<void> {
    while (this.writing) await this.writing;
  }

  private async writeSoon(): Promise<void> {
    await new Promise<void>((resolve) => this.clock.schedule(gatherMs, resolve));
    while (this.isDirty) {
      this.isDirty = false;
      try {
        await replaceFile(this.path, `${JSON.stringify({ version: 1, leases: this.leases })}\n`);
      } catch (error) {
        this.log.warn(`the leases could not be kept: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    this.writing = undefined;
  }
}

/** What of the text are leases. @throws when it is no such file at all */
export function parseLeases(text: string): SavedLeases {
  const { leases } = FileShape.parse(JSON.parse(text));
  return Object.fromEntries(
    Object.entries(leases)
      .slice(-maxSegments)
      .map(([segment, entries]) => [segment, entries.slice(-maxLeases).flatMap((entry) => SavedLease.safeParse(entry).data ?? [])]),
  );
}

/** A reader finds the old or the new, whole. */
async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
