import type { MachineInfo, MachineState } from "./model";

/**
 * The machine's life as a table.
 *
 *   off ──start──▶ starting ──▶ running ◀──resume── paused
 *    ▲                            │  └──pause──▶ paused
 *    │                            ├── shutdown ──▶ stopping ──▶ off
 *    ├────── power off ───────────┤
 *    │                            └── save ──▶ saved ──start──▶ starting
 *    │  a machine process that dies unasked: crashed (start again, or reset the fault by starting)
 *    └  configuration or files unusable: broken, until they are mended
 *
 * A command is legal in the states it lists; everywhere else the table has the reason, which is what people read on a
 * disabled button and in the error. A job that changes a machine holds it exclusively: `busy` refuses the rest.
 */
export const machineCommands = [
  "start",
  "pause",
  "resume",
  "reset",
  "shutdown",
  "powerOff",
  "save",
  "discardSaved",
  "configure",
  "delete",
  "changeMedium",
  "setLink",
  "plugDisk",
  "plugAdapter",
  "unplugAdapter",
  "setLimits",
  "setBalloon",
  "takeSnapshot",
  "restoreSnapshot",
  "editSnapshots",
  "viewConsole",
  "sendInput",
  "exec",
  "screenshot",
] as const;
export type MachineCommand = (typeof machineCommands)[number];

interface Rule {
  readonly legal: readonly MachineState[];
  /** May run while a job holds the machine. */
  readonly whileBusy?: boolean;
  readonly because: Partial<Record<MachineState, string>>;
}

const isOff = "The machine is off.";
const isSaved = "The machine is saved. Start it to go on where it was.";
const isStarting = "The machine is still starting.";
const isStopping = "The machine is shutting down.";
const isCrashed = "The machine has crashed. Start it again.";
const isBroken = "The machine's configuration or files cannot be used.";
const isRunning = "The machine is running. Shut it down first.";
const isPaused = "The machine is paused. Resume it first.";

const notExecuting: Rule["because"] = { off: isOff, saved: isSaved, starting: isStarting, stopping: isStopping, crashed: isCrashed, broken: isBroken };

export const commandRules: Readonly<Record<MachineCommand, Rule>> = {
  start: {
    legal: ["off", "saved", "crashed"],
    because: { starting: isStarting, running: "The machine is already running.", paused: "The machine is paused. Resume it instead.", stopping: isStopping, broken: isBroken },
  },
  pause: { legal: ["running"], because: { ...notExecuting, paused: "The machine is already paused." } },
  resume: { legal: ["paused"], because: { ...notExecuting, running: "The machine is running." } },
  reset: { legal: ["running", "paused", "stopping"], because: { off: isOff, saved: isSaved, starting: isStarting, crashed: isCrashed, broken: isBroken } },
  shutdown: { legal: ["running"], because: { ...notExecuting, paused: "The machine is paused; a paused guest cannot shut itself down. Resume it first." } },
  powerOff: {
    legal: ["starting", "running", "paused", "stopping"],
    whileBusy: true,
    because: { off: "The machine is already off.", saved: "The machine is saved, not running. Its saved state can be discarded.", crashed: "The machine has crashed and runs no more.", broken: isBroken },
  },
  save: { legal: ["running", "paused"], because: { ...notExecuting, saved: "The machine is already saved." } },
  discardSaved: {
    legal: ["saved"],
    because: { off: "The machine has no saved state.", starting: isStarting, running: "The machine is running; it has no saved state.", paused: "The machine is paused, not saved.", stopping: isStopping, crashed: "The machine has no saved state.", broken: isBroken },
  },
  configure: {
    legal: ["off", "crashed"],
    because: { starting: isStarting, running: isRunning, paused: "The machine is paused. Shut it down first.", saved: "The machine is saved; its hardware must stay as it is. Start it and shut it down, or discard the saved state.", stopping: isStopping, broken: isBroken },
  },
  delete: {
    legal: ["off", "saved", "crashed", "broken"],
    because: { starting: isStarting, running: isRunning, paused: "The machine is paused. Power it off first.", stopping: isStopping },
  },
  changeMedium: { legal: ["off", "crashed", "running", "paused"], because: { starting: isStarting, saved: "The machine is saved; its drives must stay as they are.", stopping: isStopping, broken: isBroken } },
  setLink: { legal: ["off", "crashed", "running", "paused"], because: { starting: isStarting, saved: "The machine is saved. Start it to plug a cable.", stopping: isStopping, broken: isBroken } },
  plugDisk: { legal: ["off", "crashed", "running", "paused"], because: { starting: isStarting, saved: "The machine is saved; its disks must stay as they are.", stopping: isStopping, broken: isBroken } },
  plugAdapter: {
    legal: ["off", "crashed", "running", "paused"],
    because: { starting: isStarting, saved: "The machine is saved; its adapters must stay as they are. Start it, or discard the saved state.", stopping: isStopping, broken: isBroken },
  },
  unplugAdapter: {
    legal: ["off", "crashed", "running"],
    because: { starting: isStarting, paused: "The machine is paused; its guest cannot let go of an adapter. Resume it first.", saved: "The machine is saved; its adapters must stay as they are. Start it, or discard the saved state.", stopping: isStopping, broken: isBroken },
  },
  setLimits: { legal: ["off", "crashed", "saved", "running", "paused"], because: { starting: isStarting, stopping: isStopping, broken: isBroken } },
  setBalloon: { legal: ["running"], because: { ...notExecuting, paused: isPaused } },
  takeSnapshot: { legal: ["off", "crashed", "saved", "running", "paused"], because: { starting: isStarting, stopping: isStopping, broken: isBroken } },
  restoreSnapshot: { legal: ["off", "crashed", "saved", "running", "paused"], because: { starting: isStarting, stopping: isStopping, broken: isBroken } },
  editSnapshots: { legal: ["off", "crashed", "saved", "starting", "running", "paused", "stopping"], because: { broken: isBroken } },
  viewConsole: { legal: ["starting", "running", "paused", "stopping"], whileBusy: true, because: { off: isOff, saved: isSaved, crashed: isCrashed, broken: isBroken } },
  sendInput: { legal: ["running", "stopping"], whileBusy: true, because: { off: isOff, saved: isSaved, starting: isStarting, crashed: isCrashed, broken: isBroken, paused: isPaused } },
  exec: { legal: ["running"], because: { ...notExecuting, paused: isPaused } },
  screenshot: { legal: ["running", "paused", "stopping", "saved", "off", "crashed"], whileBusy: true, because: { starting: isStarting, broken: isBroken } },
};

/** Why `command` is not legal for the machine now, or undefined when it is. */
export function refusal(command: MachineCommand, machine: Pick<MachineInfo, "state" | "jobId" | "pauseReason">): string | undefined {
  const rule = commandRules[command];
  if (!rule.legal.includes(machine.state)) return rule.because[machine.state] ?? `Not possible while the machine is ${machine.state}.`;
  // Its processor would go on, in a kernel that has given up.
  if (command === "resume" && machine.pauseReason === "guest-panic") return "The guest has panicked and cannot go on. Reset the machine, or power it off.";
  if (machine.jobId !== undefined && !rule.whileBusy) return "Another job is working on this machine. Wait until it is done, or cancel it.";
  return undefined;
}

/** States in which a machine process exists. */
export function isLive(state: MachineState): boolean {
  return state === "starting" || state === "running" || state === "paused" || state === "stopping";
}
