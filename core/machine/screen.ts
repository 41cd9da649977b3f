import { createHash, randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock";
import type { QmpClient } from "../engine/qmp";
import { writeFileAtomically } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";

/** A picture of a machine's screen. */
export interface Picture {
  readonly png: Buffer;
  /** The same for the same picture. */
  readonly revision: string;
}

/** Several viewers of one machine share a picture that is at most this old, milliseconds. */
const freshMs = 1000;

/** The screen of a machine: live while it runs, and the last picture kept in its folder afterwards. */
export class Screen {
  private latest: { picture: Picture; at: number } | undefined;
  private taking: Promise<Picture> | undefined;
  private kept: Picture | null | undefined;

  constructor(
    private readonly keptPath: () => string,
    private readonly runDir: string,
    private readonly clock: Clock,
  ) {}

  /** The screen now, or a moment ago. Nothing is drawn for a machine nobody looks at. */
  async live(qmp: QmpClient): Promise<Picture> {
    if (this.latest && this.clock.monotonic() - this.latest.at < freshMs) return this.latest.picture;
    this.taking ??= this.take(qmp).finally(() => (this.taking = undefined));
    return this.taking;
  }

  /** The last picture of a machine that does not run; null when there is none. */
  async last(): Promise<Picture | null> {
    if (this.kept !== undefined) return this.kept;
    try {
      this.kept = picture(await readFile(this.keptPath()));
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.kept = null;
    }
    return this.kept;
  }

  /** Keeps the picture for when the machine has stopped: a new one if the machine still answers, else the latest. */
  async keep(qmp: QmpClient | undefined, timeoutMs?: number): Promise<void> {
    const shown = qmp === undefined || qmp.isClosed ? this.latest?.picture : await this.take(qmp, timeoutMs);
    if (!shown) return;
    this.kept = shown;
    await writeFileAtomically(this.keptPath(), shown.png);
  }

  private async take(qmp: QmpClient, timeoutMs?: number): Promise<Picture> {
    const path = join(this.runDir, `screen-${randomBytes(4).toString("hex")}.png`);
    try {
      await qmp.execute("screendump", { filename: path, format: "png" }, timeoutMs);
      const taken = picture(await readFile(path));
      this.latest = { picture: taken, at: this.clock.monotonic() };
      return taken;
    } finally {
      await rm(path, { force: true });
    }
  }
}

function picture(png: Buffer): Picture {
  return { png, revision: createHash("sha256").update(png).digest("hex").slice(0, 16) };
}
