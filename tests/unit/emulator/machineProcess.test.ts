import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { createLog } from "../../../core/base/log";
import type { MachineArguments } from "../../../core/emulator/argv";
import { MachineProcess, type MachineEvent } from "../../../core/emulator/machineProcess";

/**
 * A worker without an emulator. Its disk is a directory, so that a second worker that opens it while it is open can say
 * so. Files tell it what to do: `slow` and `busy`, while they are there, keep it from being ready or coming to rest,
 * `gone` lets it fail, with `empty` it finds no CD, and `resets` has its guest ask for one reset as soon as it runs.
 */
const worker = `
const { parentPort, workerData } = require("node:worker_threads");
const { existsSync, mkdirSync, rmdirSync, rmSync, appendFileSync } = require("node:fs");
const at = (name) => workerData.machine.pidFile + "." + name;
const note = (text) => appendFileSync(at("notes"), text + "\\n");
const poll = (test, done) => (test() ? done() : setTimeout(poll, 1, test, done));
const waiting = [];
let take = (message) => waiting.push(message);
parentPort.on("message", (message) => message.type === "request" && take(message));
const answer = ({ id, name }) => {
  note(name);
  const reply = () => parentPort.postMessage({ type: "reply", id, ok: true, value: null });
  if (name === "run" && existsSync(at("resets"))) {
    rmSync(at("resets"));
    parentPort.postMessage({ type: "reset" });
  }
  if (name !== "close") return reply();
  poll(() => !existsSync(at("busy")), () => {
    rmdirSync(at("open"));
    reply();
  });
};
try {
  mkdirSync(at("open"));
} catch (error) {
  note("opened twice");
}
const begin = () => {
  if (existsSync(at("gone"))) return parentPort.postMessage({ type: "failed", message: "The disk is gone" });
  take = answer;
  parentPort.postMessage({ type: "ready", medium: existsSync(at("empty")) ? null : workerData.medium });
  for (const message of waiting) answer(message);
};
note(workerData.again ? "again" : "begun");
poll(() => !existsSync(at("slow")), begin);
`;

let directory: string;
let machine: MachineProcess;
let clock: ManualClock;
let events: MachineEvent[];
let lines: string[];
let ended: Promise<number>;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "machine-"));
  for (const name of ["bios", "vga", "v86.wasm"]) writeFileSync(join(directory, name), "x");
  writeFileSync(join(directory, "emulatorWorker.cjs"), worker);
  const described: MachineArguments = {
    ...{ name: "test", uuid: "0", memoryMiB: 16, pidFile: join(directory, "pid"), append: "", boot: "disk", incoming: false },
    ...{ bios: join(directory, "bios"), vgaBios: join(directory, "vga"), disks: [], adapters: [], cdrom: { id: "cd0", file: "some.iso" } },
  };
  lines = [];
  clock = new ManualClock();
  events = [];
  machine = new MachineProcess(described, { directory }, createLog((line) => lines.push(line)), clock);
  machine.onDidEvent((event) => events.push(event));
  ended = new Promise((resolve) => machine.onDidEnd(resolve));
});
afterEach(async () => {
  for (const name of ["busy", "slow"]) unsay(name);
  await machine.quit("host-signal");
  rmSync(directory, { recursive: true, force: true });
});

const say = (name: string): void => writeFileSync(join(directory, `pid.${name}`), "");
const unsay = (name: string): void => rmSync(join(directory, `pid.${name}`), { force: true });
const happened = (name: string): number => events.filter(({ event }) => event === name).length;

/** What the workers did, in order. */
function notes(): string[] {
  return readFileSync(join(directory, "pid.notes"), "utf8").trim().split("\n");
}

/** Waits until the workers have noted `text` so many times. */
async function noted(text: string, times = 1): Promise<void> {
  while (notes().filter((line) => line === text).length < times) await new Promise((resolve) => setImmediate(resolve));
}

describe("a reset", () => {
  it("that is asked for twice at once is answered twice and replaces the worker once", async () => {
    await machine.begin();
    await machine.cont();
    await Promise.all([machine.reset(), machine.reset()]);
    expect(notes()).toEqual(["begun", "run", "close", "again", "run"]);
    expect([machine.runState, happened("RESET")]).toEqual(["running", 1]);
  });

  it("that is asked for while the machine is being made again waits for that", async () => {
    await machine.begin();
    await machine.cont();
    say("slow");
    const first = machine.reset();
    await noted("again");
    const second = machine.reset();
    unsay("slow");
    await Promise.all([first, second]);
    expect(notes()).toEqual(["begun", "run", "close", "again", "run"]);
  });

  it("by the guest as soon as it runs again is not taken for the one that is under way", async () => {
    await machine.begin();
    await machine.cont();
    say("resets");
    await machine.reset();
    await noted("run", 3);
    expect(notes()).toEqual(["begun", "run", "close", "again", "run", "close", "again", "run"]);
  });

  it("and a later one are two", async () => {
    await machine.begin();
    await machine.reset();
    await machine.reset();
    expect(notes()).toEqual(["begun", "close", "again", "close", "again"]);
    expect(happened("RESET")).toBe(2);
  });

  it("leaves the drive empty when the worker found its medium gone", async () => {
    await machine.begin();
    say("empty");
    await machine.reset();
    expect(machine.medium).toBeNull();
    expect(events.at(-1)).toEqual({ event: "DEVICE_TRAY_MOVED", data: { device: "cd0", id: "cd0", "tray-open": true } });
  });

  it("that cannot make the machine again ends it, with the reason", async () => {
    await machine.begin();
    await machine.cont();
    say("gone");
    await expect(machine.reset()).rejects.toThrow("The machine cannot be reset: The disk is gone");
    expect(machine.runState).toBe("internal-error");
    await expect(machine.stop()).rejects.toThrow("The machine has ended");
    expect(await ended).toBe(70);
    expect(events.at(-1)).toEqual({ event: "SHUTDOWN", data: { guest: false, reason: "host-error" } });
    expect(lines.join("\n")).toContain("the emulator failed: The disk is gone");
  });
});

describe("ending a machine", () => {
  it("while its worker is coming to rest for a reset starts no other one", async () => {
    await machine.begin();
    say("busy");
    const reset = expect(machine.reset()).rejects.toThrow("The machine has ended");
    await noted("close");
    const quit = machine.quit("host-qmp-quit");
    unsay("busy");
    await Promise.all([reset, quit]);
    expect(await ended).toBe(0);
    expect(notes()).toEqual(["begun", "close"]);
  });

  it("while it is being made again lets nobody wait for ever", async () => {
    await machine.begin();
    say("slow");
    const reset = expect(machine.reset()).rejects.toThrow("The machine cannot be reset: the emulator has ended");
    const statistics = expect(machine.statistics()).rejects.toThrow("The machine cannot be reset");
    await noted("again");
    const quit = machine.quit("host-qmp-quit");
    clock.advance(10_000);
    await Promise.all([reset, statistics, quit]);
    expect(await ended).toBe(0);
  });
});
