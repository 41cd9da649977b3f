import { formatSize, MiB } from "../../base/bytes";
import { TerrariumError } from "../../contract/errors";
import type { AcceleratorInfo, MachineInfo, TrashEntry } from "../../contract/model";
import { procedures } from "../../contract/procedures";
import { shellWords } from "../../contract/shellWords";
import { requireYes, yesOption } from "../ask";
import { findSystem, readSecrets, secretsGiven } from "../findings";
import { findMachine, finishJob } from "../machines";
import { forwardWords } from "../networkWords";
import { patchFrom, settings, size, specFrom } from "../spec";
import { facts, operand, table, time } from "../table";
import { UsageError, verb, type Verb } from "../verb";

/** What machines there are, and what they are made of. */
export const machineVerbs: readonly Verb[] = [
  verb({
    name: "list",
    doc: procedures["machine.list"].doc,
    async run(context) {
      const machines = await (await context.connect()).call("machine.list", {});
      context.print(machines, machines.length === 0 ? "There are no machines. Create one with: terrarium create NAME" : listing(machines));
    },
  }),
  verb({
    name: "show",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.get"].doc,
    options: { "command-line": { type: "boolean", help: "The exact command line of its machine process." } },
    async run(context, [name], values) {
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      if (!values["command-line"]) return context.print(machine, description(machine));
      const { live, command } = await host.call("machine.commandLine", { id: machine.id });
      context.print({ live, command }, shellWords(command));
    },
  }),
  verb({
    name: "create",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.create"].doc,
    more: ["Without --iso, --disk-image, --link-image or --kernel it runs the starter guest that comes with Terrarium, with a disk of 2 GB for its data."],
    options: {
      template: { type: "string", value: "starter", help: "What to start from." },
      engine: { type: "string", value: "auto|v86|qemu", help: "What runs it." },
      memory: { type: "string", value: "SIZE", help: "Memory, like 256M." },
      cpus: { type: "string", value: "N", help: "Processors." },
      disk: { type: "string", multiple: true, value: "SIZE", help: "An empty disk, like 2G." },
      "disk-image": { type: "string", multiple: true, value: "FILE", help: "A disk that is a copy of this image." },
      "link-image": { type: "string", multiple: true, value: "FILE", help: "A disk that is this very image; the machine changes it." },
      "no-disk": { type: "boolean", help: "The starter guest without its disk." },
      iso: { type: "string", value: "FILE", help: "A CD image, which it boots." },
      kernel: { type: "string", value: "FILE", help: "A Linux kernel to boot." },
      initrd: { type: "string", value: "FILE", help: "The kernel's initial RAM disk." },
      cmdline: { type: "string", value: "TEXT", help: "The kernel's command line." },
      net: { type: "string", multiple: true, value: "MODE[:NETWORK]", help: "An adapter: nat (when none is said), none, nat-network:N, internal:N, host-only:N, bridged:CARD." },
      system: { type: "string", value: "ID", help: "The system it is for (terrarium systems); recognised in most images." },
      firmware: { type: "string", value: "bios|uefi", help: "What starts it." },
      grow: { type: "string", value: "SIZE", help: "Make the copies of images this long." },
      user: { type: "string", value: "NAME", help: "The first login of a cloud image (cloud-init)." },
      "password-file": { type: "string", value: "FILE", help: "The file with that login's password; - for standard input." },
      "ssh-key": { type: "string", multiple: true, value: "FILE", help: "A public SSH key for that login." },
      hostname: { type: "string", value: "NAME", help: "The host name of a cloud image." },
      package: { type: "string", multiple: true, value: "NAME", help: "A package that a cloud image installs on its first start." },
      group: { type: "string", value: "TEXT", help: "The group it is listed in." },
      notes: { type: "string", value: "TEXT", help: "Notes." },
    },
    async run(context, [name], values) {
      specFrom(name!, values, secretsGiven(values));
      const host = await context.connect();
      const spec = specFrom(name!, values, { ...(await findSystem(host, values)), ...(await readSecrets(values)) });
      for (const { level, message, remedy } of await host.call("machine.check", { spec })) {
        if (level !== "error") context.note(remedy === undefined ? message : `${message} ${remedy}`);
      }
      const { id, job } = await host.call("machine.create", { spec });
      await finishJob(context, host, job);
      const machine = await host.call("machine.get", { id });
      context.print(machine, `Created ${machine.name} (${id.slice(0, 8)}). Start it with: terrarium start ${operand(machine.name)}`);
    },
  }),
  verb({
    name: "systems",
    doc: procedures["host.systems"].doc,
    async run(context) {
      const systems = await (await context.connect()).call("host.systems", {});
      context.print(systems, table(["ID", "SYSTEM", "MEMORY", "PROCESSORS", "DISK", "FIRMWARE"], systems.map((each) => [each.id, each.label, formatSize(each.memoryMiB * MiB), String(each.cpus), formatSize(each.diskBytes), each.firmware.toUpperCase()])));
    },
  }),
  verb({
    name: "set",
    operands: "NAME [key=value]...",
    count: [1, 100],
    doc: procedures["machine.set"].doc,
    more: [`Settings:\n${settings.map(([form, meaning]) => `  ${form}  ${meaning}`).join("\n")}`],
    options: {
      "add-disk": { type: "string", multiple: true, value: "SIZE", help: "Add an empty disk." },
      yes: yesOption,
      "remove-disk": { type: "string", multiple: true, value: "ID", help: "Take a disk out: disk0 to disk3. Its contents are deleted unless it is a linked image." },
    },
    async run(context, [name, ...words], values) {
      const addDisks = values["add-disk"]?.map((text) => ({ sizeBytes: size("--add-disk", text) }));
      const removeDisks = values["remove-disk"];
      if (words.length === 0 && addDisks === undefined && removeDisks === undefined) throw new UsageError("There is nothing to set. Write settings as key=value.");
      patchFrom(words, undefined);
      const host = await context.connect();
      const { id, config } = await findMachine(host, name!);
      const lost = (removeDisks ?? []).filter((each) => config?.disks.some((disk) => disk.id === each && disk.layers.every(({ file }) => !file.startsWith("/"))));
      if (lost.length > 0) await requireYes(context, values.yes, `${lost.join(", ")} of ${name!}: delete with everything on ${lost.length === 1 ? "it" : "them"}? That cannot be brought back.`);
      const patch = { ...patchFrom(words, config), ...(addDisks ? { addDisks } : {}), ...(removeDisks ? { removeDisks: [...removeDisks] } : {}) };
      const { medium, ...rest } = patch;
      // A medium can be changed in states in which nothing else can.
      if (medium !== undefined && Object.keys(rest).length === 0) await host.call("machine.changeMedium", { id, drive: "cd0", medium });
      else await host.call("machine.set", { id, patch });
      const machine = await host.call("machine.get", { id });
      context.print(machine, description(machine));
    },
  }),
  verb({
    name: "delete",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.delete"].doc,
    options: { "keep-disks": { type: "boolean", help: "Put the disks aside, where they stay when the trash is emptied." } },
    async run(context, [name], values) {
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const entry = await host.call("machine.delete", { id: machine.id, keepDisks: values["keep-disks"] ?? false });
      context.print(entry, `${machine.name} is in the trash. Bring it back with: terrarium trash restore ${entry.id}`);
    },
  }),
  verb({
    name: "trash list",
    doc: procedures["trash.list"].doc,
    async run(context) {
      const entries = await (await context.connect()).call("trash.list", {});
      const rows = entries.map((entry) => [entry.id, entry.name, time(entry.deletedAt), formatSize(entry.bytes)]);
      context.print(entries, entries.length === 0 ? "The trash is empty." : table(["ID", "NAME", "DELETED", "SIZE"], rows));
    },
  }),
  verb({
    name: "trash restore",
    operands: "ID",
    count: [1, 1],
    doc: procedures["trash.restore"].doc,
    more: ["ID is an entry's id or the beginning of it, or its name when only one entry has it."],
    async run(context, [said]) {
      const host = await context.connect();
      const entry = await findTrash(host, said!);
      const machine = await host.call("trash.restore", { id: entry.id });
      context.print(machine, `${entry.snapshot === undefined ? machine.name : entry.name} is back.`);
    },
  }),
  verb({
    name: "trash empty",
    operands: "[ID]",
    count: [0, 1],
    doc: procedures["trash.empty"].doc,
    more: ["It asks first. Without a terminal it does not go on unless it is told --yes."],
    options: { yes: yesOption },
    async run(context, [said], values) {
      const host = await context.connect();
      const id = said === undefined ? undefined : (await findTrash(host, said)).id;
      const doomed = (await host.call("trash.list", {})).filter((entry) => id === undefined || entry.id === id);
      if (doomed.length === 0) return context.print({}, "The trash is empty.");
      await requireYes(context, values.yes, `${doomed.map((entry) => `${entry.name} (${formatSize(entry.bytes)})`).join(", ")}: delete for good? ${doomed.length === 1 ? "It" : "They"} cannot be brought back.`);
      const { job } = await host.call("trash.empty", id === undefined ? {} : { id });
      await finishJob(context, host, job);
      context.print({}, "Deleted for good.");
    },
  }),
];

type Caller = Awaited<ReturnType<Parameters<Verb["run"]>[0]["connect"]>>;

async function findTrash(host: Caller, said: string): Promise<TrashEntry> {
  const entries = await host.call("trash.list", {});
  for (const matches of [entries.filter((entry) => entry.id === said), entries.filter((entry) => entry.name === said), entries.filter((entry) => said.length >= 4 && entry.id.startsWith(said))]) {
    if (matches.length > 1) throw new TerrariumError("not-found", `"${said}" could be any of ${matches.length} entries of the trash.`, `Use an id: ${matches.map((entry) => entry.id).join(", ")}.`);
    if (matches[0]) return matches[0];
  }
  throw new TerrariumError("not-found", `There is no "${said}" in the trash.`, "terrarium trash list shows what is in it.");
}

function listing(machines: readonly MachineInfo[]): string {
  return table(
    ["NAME", "STATE", "ENGINE", "MEMORY", "ADDRESS", "ID"],
    machines.map((machine) => [machine.name, stateWord(machine), machine.engine?.id ?? "", machine.config ? formatSize(machine.config.memoryMiB * MiB) : "", machine.guest.addresses.map(({ address }) => address).join(" "), machine.id.slice(0, 8)]),
  );
}

function stateWord(machine: MachineInfo): string {
  if (machine.state === "paused" && machine.pauseReason !== undefined && machine.pauseReason !== "user") return `paused (${machine.pauseReason})`;
  return machine.unresponsive ? `${machine.state} (unresponsive)` : machine.state;
}

function description(machine: MachineInfo): string {
  const { config, guest, problem } = machine;
  return facts([
    ["Name", machine.name],
    ["Id", machine.id],
    ["State", `${stateWord(machine)}, since ${time(machine.since)}`],
    ["Problem", problem === undefined ? undefined : [problem.message, problem.remedy].filter((line) => line !== undefined).join("\n")],
    ["Group", config?.group],
    ["Notes", config?.notes],
    ["Engine", machine.engine === undefined ? undefined : `${machine.engine.label}${config?.engine === "auto" ? " (chosen automatically)" : ""}`],
    ["Runs on", machine.engine?.accelerator && `${machine.engine.label} ${machine.engine.version ?? ""} with ${acceleratorWord(machine.engine.accelerator)}`.replace("  ", " ")],
    ["System", config?.system],
    ["Memory", config && `${formatSize(config.memoryMiB * MiB)}${machine.balloonMiB === undefined ? "" : `, of which the guest is left ${formatSize(machine.balloonMiB * MiB)}`}`],
    ["Processors", config && String(config.cpus)],
    ["Hardware", config?.hardware && hardwareWord(config.hardware)],
    ["Boots", config && bootWord(config.boot)],
    ["Disks", config?.disks.map((disk) => `${disk.id}  ${formatSize(disk.sizeBytes)}  ${disk.layers[disk.layers.length - 1]?.file ?? ""}${disk.bus === undefined ? "" : `  ${disk.bus}`}${disk.limits ? `  at most ${limitWord(disk.limits)}` : ""}`).join("\n")],
    ["CD drive", config?.drives.map((drive) => drive.medium ?? "empty").join("\n")],
    ["Adapters", config?.adapters.map(({ mac, attachment, plugged }, i) => `${i}  ${mac}  ${attachment.mode}${attachment.network === undefined ? "" : `:${attachment.network}`}${plugged ? "" : "  unplugged"}`).join("\n")],
    ["Network", machine.network?.map(({ adapter, connected, address, problem: fault, forwards }) => [`${adapter}  ${connected ? "connected" : "not connected"}${address === undefined ? "" : `  ${address}`}${fault ? `  ${fault.message}` : ""}`, ...forwards.map(({ forward, problem: why }) => `   ${forwardWords(forward)}${why ? `  ${why.message}` : ""}`)].join("\n")).join("\n")],
    ["Guest", [guest.os, guest.hostname].filter((part) => part !== undefined).join(", ")],
    ["Agent", guest.agent],
    ["Addresses", guest.addresses.map(({ adapter, address }) => `${adapter}  ${address}`).join("\n")],
    ["Folder", `${machine.folder}${machine.hostBytes === undefined ? "" : ` (${formatSize(machine.hostBytes)})`}`],
  ]);
}

function acceleratorWord({ label, reason }: AcceleratorInfo): string {
  return reason === undefined ? label : `${label}: slow because ${reason.replace(/\.$/, "")}`;
}

function hardwareWord({ firmware, chipset, machineVersion, cpuModel, topology, clock, extraArguments }: NonNullable<NonNullable<MachineInfo["config"]>["hardware"]>): string {
  const parts = [firmware?.toUpperCase(), chipset, machineVersion && `machine version ${machineVersion}`, cpuModel && `CPU ${cpuModel}`, topology && `${topology.sockets} sockets, ${topology.cores} cores, ${topology.threads} threads`, clock === "local" ? "clock in local time" : undefined, extraArguments && `extra arguments: ${extraArguments.join(" ")}`];
  return parts.filter((part) => part !== undefined && part !== "").join("\n");
}

function limitWord({ bytesPerSecond, operationsPerSecond }: NonNullable<NonNullable<MachineInfo["config"]>["disks"][number]["limits"]>): string {
  return [bytesPerSecond === undefined ? undefined : `${formatSize(bytesPerSecond)}/s`, operationsPerSecond === undefined ? undefined : `${operationsPerSecond} operations/s`].filter((part) => part !== undefined).join(", ");
}

function bootWord(boot: NonNullable<MachineInfo["config"]>["boot"]): string {
  if (boot.kind === "starter") return "the starter guest";
  if (boot.kind === "firmware") return boot.order === "cd" ? "the CD, then the disk" : "the disk, then the CD";
  return [boot.kernel, boot.initrd && `initrd ${boot.initrd}`, boot.cmdline].filter((part) => part !== undefined).join("\n");
}
