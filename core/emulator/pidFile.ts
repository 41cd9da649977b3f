import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { toDisposable, type Disposable } from "../base/disposable";
import { err, ok, type Result } from "../base/result";
import { errorCode } from "../storage/blockDevice";

/** Claims the pid file, which holds the pid and a line end. One of a process that is gone is overwritten. */
export function claimPidFile(path: string): Result<Disposable> {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: "wx", mode: 0o600 });
      return ok(toDisposable(() => releasePidFile(path)));
    } catch (error) {
      if (errorCode(error) !== "EEXIST") return err(`The pid file ${path} cannot be written: ${(error as Error).message}`);
    }
    const pid = Number(readFileSync(path, "utf8").trim());
    if (Number.isInteger(pid) && pid > 0 && pid !== process.pid && isMachine(pid, path)) {
      return err(`The machine is running already as process ${pid} (${path})`);
    }
    unlinkSync(path);
  }
  return err(`The pid file ${path} cannot be claimed: another process keeps writing it`);
}

function releasePidFile(path: string): void {
  try {
    if (Number(readFileSync(path, "utf8")) === process.pid) unlinkSync(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

/** Whether the pid lives and is a machine with this pid file, as far as the system lets us look. */
function isMachine(pid: number, path: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return false;
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(path);
  } catch (error) {
    // Without /proc, or gone since: a living pid is taken for the machine, a dead one was sorted out above.
    return errorCode(error) !== "ESRCH";
  }
}
