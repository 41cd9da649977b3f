import type { Icon } from "@phosphor-icons/react";
import { ArrowClockwise } from "@phosphor-icons/react/dist/csr/ArrowClockwise";
import { Camera } from "@phosphor-icons/react/dist/csr/Camera";
import { Eraser } from "@phosphor-icons/react/dist/csr/Eraser";
import { FolderOpen } from "@phosphor-icons/react/dist/csr/FolderOpen";
import { Monitor } from "@phosphor-icons/react/dist/csr/Monitor";
import { Moon } from "@phosphor-icons/react/dist/csr/Moon";
import { Pause } from "@phosphor-icons/react/dist/csr/Pause";
import { PencilSimple } from "@phosphor-icons/react/dist/csr/PencilSimple";
import { Play } from "@phosphor-icons/react/dist/csr/Play";
import { Plug } from "@phosphor-icons/react/dist/csr/Plug";
import { Power } from "@phosphor-icons/react/dist/csr/Power";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import type { MachineInfo } from "../../../core/contract/model";
import { refusal, type MachineCommand } from "../../../core/contract/states";
import { call, desktop } from "../../api/client";
import { confirm } from "../../ui/confirm";
import { attempt, toasts } from "../../ui/toasts";
import { askNewName } from "./rename";

/** What a person can do with a machine: one list behind the toolbar, the menus, the keys and the palette. */
export interface CommandItem {
  readonly label: string;
  readonly icon: Icon;
  readonly danger?: boolean;
  /** What the table of states calls it; absent when it is always possible. */
  readonly rule?: MachineCommand;
  run(machine: MachineInfo): Promise<unknown>;
}

const items = {
  openConsole: { label: "Open console", icon: Monitor, rule: "viewConsole", run: (machine) => desktop.openConsole(machine.id) },
  start: { label: "Start", icon: Play, rule: "start", run: ({ id }) => call("machine.start", { id }) },
  pause: { label: "Pause", icon: Pause, rule: "pause", run: ({ id }) => call("machine.pause", { id }) },
  resume: { label: "Resume", icon: Play, rule: "resume", run: ({ id }) => call("machine.resume", { id }) },
  save: { label: "Save", icon: Moon, rule: "save", run: ({ id }) => call("machine.save", { id }) },
  shutdown: { label: "Shut down", icon: Power, rule: "shutdown", run: ({ id }) => call("machine.shutdown", { id }) },
  powerOff: { label: "Power off", icon: Plug, danger: true, rule: "powerOff", run: powerOff },
  reset: { label: "Reset", icon: ArrowClockwise, danger: true, rule: "reset", run: reset },
  discardSaved: { label: "Discard saved state", icon: Eraser, danger: true, rule: "discardSaved", run: discardSaved },
  rename: { label: "Rename", icon: PencilSimple, run: askNewName },
  screenshot: { label: "Save a screenshot", icon: Camera, rule: "screenshot", run: saveScreenshot },
  showFolder: { label: "Show its folder", icon: FolderOpen, run: ({ id }) => desktop.showFolder(id) },
  delete: { label: "Delete", icon: Trash, danger: true, rule: "delete", run: moveToTrash },
} satisfies Record<string, CommandItem>;

export type CommandId = keyof typeof items;
export const commands: Readonly<Record<CommandId, CommandItem>> = items;

/** Why a command cannot be run now, or undefined. */
export function refusalOf(id: CommandId, machine: MachineInfo): string | undefined {
  if (id === "rename" && machine.config === undefined) return "The machine's configuration cannot be read.";
  const { rule } = commands[id];
  return rule === undefined ? undefined : refusal(rule, machine);
}

/** Runs a command; what fails is shown with its remedy. */
export async function runCommand(id: CommandId, machine: MachineInfo): Promise<void> {
  const refused = refusalOf(id, machine);
  if (refused !== undefined) toasts.show({ level: "warning", about: machine.name, message: refused });
  else await attempt(() => commands[id].run(machine), machine.name);
}

/** What Enter and a double click do: look at it when it runs, let it go on, or start it. */
export function mainCommand(machine: MachineInfo): CommandId {
  if (refusal("start", machine) === undefined) return "start";
  return machine.state === "paused" ? "resume" : "openConsole";
}

async function powerOff({ id, name }: MachineInfo): Promise<void> {
  const yes = await confirm({
    title: `Power off ${name}?`,
    body: "This pulls the plug: the guest loses everything it has not written to its disk. To end it in order, shut it down.",
    action: "Power off",
    danger: true,
  });
  if (yes) await call("machine.powerOff", { id });
}

async function reset({ id, name }: MachineInfo): Promise<void> {
  const yes = await confirm({
    title: `Reset ${name}?`,
    body: "The guest restarts at once and loses everything it has not written to its disk.",
    action: "Reset",
    danger: true,
  });
  if (yes) await call("machine.reset", { id });
}

async function discardSaved({ id, name }: MachineInfo): Promise<void> {
  const yes = await confirm({
    title: `Discard the saved state of ${name}?`,
    body: "Programs that were open in the guest are lost, as after a power cut. Its disks stay.",
    action: "Discard",
    danger: true,
  });
  if (yes) await call("machine.discardSaved", { id });
}

async function moveToTrash({ id, name }: MachineInfo): Promise<void> {
  const entry = await call("machine.delete", { id });
  toasts.show({
    level: "info",
    message: `${name} is in the trash.`,
    action: { label: "Undo", run: () => void attempt(() => call("trash.restore", { id: entry.id }), name) },
  });
}

async function saveScreenshot({ id, name }: MachineInfo): Promise<void> {
  const { png } = await call("machine.screenshot", { id });
  if (png === null) {
    toasts.show({ level: "warning", message: `${name} has not shown anything on its screen yet.` });
    return;
  }
  const path = await desktop.saveScreenshot(`${name}.png`, png);
  if (path !== null) toasts.show({ level: "success", message: `Saved the screen of ${name} to ${path}.` });
}
