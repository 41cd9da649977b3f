// Set-up steps of one place (a checkout, the shared cache) run one at a time, also when two commands start together.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readTextIfThere } from "./files.mjs";

/**
 * Runs `work` while holding the lock file `path`. Waits for a living holder; a dead one's lock is taken over.
 * @param {string} path
 * @param {{ say(text: string): void }} progress told once when there is somebody to wait for
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 * @template T
 */
export async function whileHolding(path, progress, work) {
  mkdirSync(dirname(path), { recursive: true });
  let told = false;
  while (!take(path)) {
    const holder = Number(readTextIfThere(path));
    if (holder > 0 && !isAlive(holder)) {
      rmSync(path, { force: true });
      continue;
    }
    if (!told) progress.say(`Waiting for another set-up (process ${holder || "unknown"}) to finish (if there is none, delete ${path}) ...`);
    told = true;
    await delay(200);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path) {
  try {
    writeFileSync(path, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
