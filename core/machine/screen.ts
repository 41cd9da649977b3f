import { createHash, randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import { toErrorData } from "../contract/errors";
import type { QmpClient } from "../engine/qmp";
import { writeFileAtomically } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";

/** A picture of a machine's screen. */
export interface Picture {
  readonly png: Buffer;
  /** The same for the same picture. */
  readonly revision: string;
}

/** An answer to whoever has a picture already. */
export interface Shot {
  /** The machine runs; else this is its last picture. */
  readonly live: boolean;
  readonly revision: string;
  /** In base 64; null when it is still the one they have. */
  readonly png: string | null;
}

/** Several viewers of one machine share a picture that is at most this old, milliseconds. */
const freshMs = 1000;

/** The screen of a machine: live while it runs, and the last picture kept in its folder afterwards. */
export class Screen {
  private latest: { picture: Picture; at: number } | undefined;
  private taking: Promise<Picture> | undefined;
  private kept: Picture | null | undefined;

  constructor(
    private readonly machine: { readonly name: string; readonly folder: string; readonly runDir: string },
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  private get keptPath(): string {
    return join(this.machine.folder, "screenshot.png");
  }

  /** The screen, without the picture when that is still the one of the revision `unless`. */
  async shot(qmp: QmpClient | undefined, unless: string | undefined): Promise<Shot> {
    const live = qmp !== undefined && !qmp.isClosed;
    const taken = live ? await this.live(qmp) : await this.last();
    if (!taken) return { live: false, revision: "none", png: null };
    return { live, revision: taken.revision, png: taken.revision === unless ? null : taken.png.toString("base64") };
  }

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
      this.kept = picture(await readFile(this.keptPath));
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.kept = null;
    }
    return this.kept;
  }

  /** Keeps the picture for when the machine has stopped: a new one if the machine still answers, else the latest. Nothing else depends on it. */
  async keep(qmp: QmpClient | undefined, timeoutMs?: number): Promise<void> {
    try {
      const shown = qmp === undefined || qmp.isClosed ? this.latest?.picture : await this.take(qmp, timeoutMs);
      if (!shown) return;
      this.kept = shown;
      await writeFileAtomically(this.keptPath, shown.png);
    } catch (error) {
      this.log.warn(`the last picture of ${this.machine.name} could not be kept: ${toErrorData(error).message}`);
    }
  }

  /** The last picture is another one by now. */
  forget(): void {
    this.kept = undefined;
    this.latest = undefined;
  }

  private async take(qmp: QmpClient, timeoutMs?: number): Promise<Picture> {
    const path = join(this.machine.runDir, `screen-${randomBytes(4).toString("hex")}.png`);
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
