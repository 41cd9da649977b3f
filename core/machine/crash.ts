import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ErrorData } from "../contract/errors";
import { isMissing } from "../storage/fileErrors";

/** A crash in words. `reason` counts when the machine process left no report of this run in `logs`. */
export async function describeCrash(crash: { name: string; logs: string; reason: string; startedAt: number }): Promise<ErrorData> {
  const { name, logs, reason, startedAt } = crash;
  const path = join(logs, "crash.txt");
  const report = await crashReport(path, startedAt);
  return {
    code: "engine-failed",
    message: `${name} has crashed. ${report ?? reason}`,
    remedy: `Start it again. ${report === undefined ? `Its logs lie in ${logs}.` : `What is known about the crash lies in ${path}.`}`,
  };
}

/** What a machine process of this run wrote about its own failure: the first line of its report. */
async function crashReport(path: string, startedAt: number): Promise<string | undefined> {
  try {
    if ((await stat(path)).mtimeMs < startedAt) return undefined;
    const line = (await readFile(path, "utf8")).split("\n", 1)[0]?.trim().slice(0, 300);
    return line === "" ? undefined : line;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
