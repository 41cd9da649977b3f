import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checksum } from "../../core/emulator/stateFormat";
import { emulatorScript, startEmulator, type EmulatorOptions } from "../support/emulatorProcess";

describe("the optimized core of the emulator", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "core-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("is compiled by the first machine, and found by the next", async () => {
    expect(await logOfStart(folder)).toMatch(/compiled v86's core/);
    const kept = keptIn(folder);
    expect(kept).toHaveLength(1);
    // It is code that the next machine executes: nobody else may write it.
    expect(statSync(kept[0] ?? "").mode & 0o077).toBe(0);
    expect(await logOfStart(folder)).not.toMatch(/core/);
    expect(keptIn(folder)).toEqual(kept);
  });

  it("is made again when its file is damaged", async () => {
    await logOfStart(folder);
    const path = keptIn(folder)[0] ?? "";
    const whole = readFileSync(path);
    const damaged = Buffer.from(whole);
    damaged[whole.length >> 1] = (whole[whole.length >> 1] ?? 0) ^ 1;
    for (const bytes of [damaged, whole.subarray(0, whole.length - 1), Buffer.alloc(0)]) {
      writeFileSync(path, bytes);
      expect(await logOfStart(folder)).toMatch(/is damaged and is made again[^]*compiled v86's core/);
      expect(await logOfStart(folder)).not.toMatch(/core/);
    }
  });

  it("is found again when the machine is reset", async () => {
    const emulator = startEmulator({ kernel: "none", memory: 32, codeCache: folder });
    try {
      const monitor = await emulator.qmp();
      await monitor.execute("cont");
      for (let reset = 0; reset < 2; reset++) await monitor.execute("system_reset");
      await emulator.quit();
      expect(emulator.log.match(/core/g)).toHaveLength(1);
    } finally {
      emulator.dispose();
    }
  });

  it("is made again when V8 refuses it, as one that was made for another processor", async () => {
    await logOfStart(folder);
    const path = keptIn(folder)[0] ?? "";
    const other = Buffer.from("no code of this V8 at all, but whole");
    writeFileSync(path, Buffer.concat([sumOf(other), other]));
    expect(await logOfStart(folder)).toMatch(/V8 refuses[^]*compiled v86's core/);
    expect(await logOfStart(folder)).not.toMatch(/core/);
  });

  it("takes the place of cores of other versions of v86", async () => {
    await logOfStart(folder);
    const path = keptIn(folder)[0] ?? "";
    const older = path.replace(/[0-9a-f]+-[0-9a-f]+$/, "0-0");
    renameSync(path, older);
    writeFileSync(join(folder, "core-of-another-v8"), "");
    await logOfStart(folder);
    expect(keptIn(folder).sort()).toEqual([path, join(folder, "core-of-another-v8")].sort());
  });

  it("does without where V8 cannot make it, and does not try again", async () => {
    const options = withCompiler("process.abort()");
    expect(await logOfStart(join(folder, "cache"), options)).toMatch(/core stays unoptimized/);
    expect(await logOfStart(join(folder, "cache"), options)).not.toMatch(/core/);
  });

  it("does without once when its compiler was ended, and tries again", async () => {
    const options = withCompiler('process.kill(process.pid, "SIGKILL")');
    for (let start = 0; start < 2; start++) {
      const log = await logOfStart(join(folder, "cache"), options);
      expect(log).toMatch(/core stays unoptimized.*SIGKILL/);
      expect(log).not.toMatch(/compiled/);
    }
  });

  /** The emulator with another compiler of its core. */
  function withCompiler(script: string): EmulatorOptions {
    const out = join(folder, "out");
    mkdirSync(out);
    for (const name of ["emulator.cjs", "emulatorWorker.cjs", "v86.wasm"]) copyFileSync(join(dirname(emulatorScript), name), join(out, name));
    writeFileSync(join(out, "emulatorCore.cjs"), script);
    return { script: join(out, "emulator.cjs") };
  }

  it("does without where nothing can be kept", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    expect(await logOfStart(join(file, "cache"))).toMatch(/core stays unoptimized/);
  });
});

/** The log of a machine that has been started with this folder and runs. */
async function logOfStart(codeCache: string, options: EmulatorOptions = {}): Promise<string> {
  const emulator = startEmulator({ kernel: "none", memory: 32, codeCache, ...options });
  try {
    const monitor = await emulator.qmp();
    await monitor.execute("cont");
    expect(await monitor.execute("query-status")).toMatchObject({ status: "running" });
    await emulator.quit();
    return emulator.log;
  } finally {
    emulator.dispose();
  }
}

/** As the file's head has it: length and checksum. */
function sumOf(code: Buffer): Buffer {
  const sum = Buffer.alloc(8);
  sum.writeUInt32LE(code.length, 0);
  sum.writeUInt32LE(checksum(code), 4);
  return sum;
}

function keptIn(folder: string): string[] {
  return readdirSync(folder).map((name) => join(folder, name));
}
