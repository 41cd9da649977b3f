import * as z from "zod";
import {
  DoctorCheck,
  FileInspection,
  Finding,
  GuestSystem,
  HostInfo,
  JobInfo,
  MachineId,
  MachineInfo,
  MachinePatch,
  MachineSpec,
  Notice,
  TrashEntry,
  UsageReport,
} from "./model";
import { NetworkInfo } from "./network";
import { networkProcedures } from "./networkProcedures";
import { procedure } from "./procedure";
import { SnapshotTree } from "./snapshot";
import { snapshotProcedures } from "./snapshotProcedures";

const nothing = z.object({}).strict();
const machine = z.object({ id: MachineId });
const done = z.object({});
const job = z.object({ job: JobInfo });

/** The one list of every call of the host service. Input and output are checked against it wherever they cross a process. */
export const procedures = {
  "host.info": procedure("What this host is and has.", nothing, HostInfo),
  "host.doctor": procedure("Checks everything machines need on this host.", nothing, z.array(DoctorCheck)),
  "host.systems": procedure("Systems that Terrarium knows as guests, with what they are given by default.", nothing, z.array(GuestSystem)),
  "host.stop": procedure("Ends a headless host service. Machines keep running. Refused by the app.", nothing, done),

  "machine.list": procedure("All machines, in the order they are shown.", nothing, z.array(MachineInfo)),
  "machine.get": procedure("One machine.", machine, MachineInfo),
  "machine.check": procedure(
    "Checks a specification against this host, or a change of an existing machine, without doing anything.",
    z.union([z.object({ spec: MachineSpec }), z.object({ id: MachineId, patch: MachinePatch })]),
    z.array(Finding),
  ),
  "machine.create": procedure("Creates a machine. The job ends when it is in the list; nothing remains when it fails.", z.object({ spec: MachineSpec }), z.object({ id: MachineId, job: JobInfo })),
  "machine.set": procedure("Changes settings, at once where the state allows it. Images to copy are copied as a job, and the answer comes when it is done.", z.object({ id: MachineId, patch: MachinePatch }), MachineInfo),
  "machine.start": procedure("Starts a machine, from its saved state if it has one. The job ends when the guest runs.", machine, job),
  "machine.pause": procedure("Stops the guest's time.", machine, done),
  "machine.resume": procedure("Lets a paused guest go on.", machine, done),
  "machine.reset": procedure("Presses the reset button. The guest loses what it has not written.", machine, done),
  "machine.shutdown": procedure("Asks the guest to shut down. The job ends when it is off; cancelling stops the waiting.", machine, job),
  "machine.powerOff": procedure("Pulls the power plug. The guest loses what it has not written.", machine, done),
  "machine.save": procedure("Saves memory and devices to the machine's folder and stops it.", machine, job),
  "machine.discardSaved": procedure("Throws the saved state away. The machine is then off, as after a power cut.", machine, done),
  "machine.delete": procedure("Moves a machine to the trash; `trash.restore` brings it back.", z.object({ id: MachineId, keepDisks: z.boolean().default(false) }), TrashEntry),
  "machine.screenshot": procedure(
    "The machine's screen as PNG: live, or the last one kept. With `unless` (a revision seen before) the picture is left out when it is still the same.",
    z.object({ id: MachineId, unless: z.string().optional() }),
    z.object({ live: z.boolean(), revision: z.string(), png: z.string().nullable() }),
  ),
  "machine.sendKeys": procedure("Presses the keys together and releases them, by QEMU's qcode names: ctrl, alt, delete.", z.object({ id: MachineId, keys: z.array(z.string()).min(1).max(16) }), done),
  "machine.typeText": procedure("Types text on the guest's keyboard (US layout).", z.object({ id: MachineId, text: z.string().max(10_000) }), done),
  "machine.exec": procedure(
    "Runs a command in the guest through its agent and waits for its end.",
    z.object({ id: MachineId, command: z.string().min(1), args: z.array(z.string()).default([]), input: z.string().optional(), timeoutMs: z.number().int().positive().max(600_000).default(60_000) }),
    z.object({ exitCode: z.number().int().nullable(), signal: z.number().int().nullable(), stdout: z.string(), stderr: z.string(), truncated: z.boolean() }),
  ),
  "machine.changeMedium": procedure("Puts an image into the CD drive, or takes it out.", z.object({ id: MachineId, drive: z.literal("cd0"), medium: z.string().min(1).nullable() }), done),
  "machine.setLink": procedure("Plugs or pulls an adapter's cable.", z.object({ id: MachineId, adapter: z.number().int().min(0).max(3), up: z.boolean() }), done),
  "machine.setBalloon": procedure("Takes memory from the running guest, or gives it back.", z.object({ id: MachineId, memoryMiB: z.number().int().positive() }), done),
  "machine.commandLine": procedure(
    "The exact command line of the machine process: of the one that runs, else of the one a start would run.",
    machine,
    z.object({ live: z.boolean(), command: z.array(z.string()) }),
  ),
  "machine.usage": procedure(
    "Processor, memory, disk and network of a running machine in the last five minutes, after `since`. It is measured while somebody asks.",
    z.object({ id: MachineId, since: z.number().optional() }),
    UsageReport,
  ),
  "machine.log": procedure("The end of one of a machine's logs.", z.object({ id: MachineId, log: z.enum(["engine", "serial0", "events"]), maxBytes: z.number().int().positive().max(1 << 20).default(65_536) }), z.object({ text: z.string(), truncated: z.boolean() })),

  ...networkProcedures,
  ...snapshotProcedures,

  "job.list": procedure("Jobs that run, and those that ended lately.", nothing, z.array(JobInfo)),
  "job.cancel": procedure("Cancels a job. What it had begun is undone.", z.object({ id: z.string() }), done),
  "job.wait": procedure("Answers when the job has ended, with how.", z.object({ id: z.string() }), JobInfo),

  "trash.list": procedure("Deleted machines and snapshots that can still be restored.", nothing, z.array(TrashEntry)),
  "trash.restore": procedure("Brings a deleted machine back, or a deleted snapshot of a machine.", z.object({ id: z.string() }), MachineInfo),
  "trash.empty": procedure("Deletes trash entries for good: one, or all.", z.object({ id: z.string().optional() }), job),

  "media.inspect": procedure("What a file on the host is, by its content.", z.object({ path: z.string().min(1) }), FileInspection),
} as const;

export type Procedures = typeof procedures;
export type ProcedureName = keyof Procedures;
/** What a caller passes. */
export type ProcedureInput<N extends ProcedureName> = z.input<Procedures[N]["input"]>;
/** What the implementation receives: checked, with defaults filled in. */
export type ProcedureParsed<N extends ProcedureName> = z.output<Procedures[N]["input"]>;
export type ProcedureOutput<N extends ProcedureName> = z.output<Procedures[N]["output"]>;

export function isProcedureName(name: unknown): name is ProcedureName {
  return typeof name === "string" && Object.hasOwn(procedures, name);
}

/** Facts the host service announces. One subscription carries all of them. */
export const HostEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("machine"), machine: MachineInfo }),
  z.object({ type: z.literal("machineRemoved"), id: MachineId }),
  z.object({ type: z.literal("job"), job: JobInfo }),
  z.object({ type: z.literal("trash"), entries: z.array(TrashEntry) }),
  z.object({ type: z.literal("host"), host: HostInfo }),
  /** Snapshots of a machine came, went or changed, or the machine is elsewhere among them. */
  z.object({ type: z.literal("snapshots"), id: MachineId, tree: SnapshotTree }),
  /** Named networks came, went or changed, or how they are doing. */
  z.object({ type: z.literal("networks"), networks: z.array(NetworkInfo) }),
  z.object({ type: z.literal("notice"), notice: Notice }),
]);
export type HostEvent = z.infer<typeof HostEvent>;

/** A pipe of bytes to a machine; never RPC. `display` is RFB 3.8; `serial` starts with the last 64 KB. */
export const StreamRequest = z.object({ stream: z.enum(["display", "serial"]), id: MachineId });
export type StreamRequest = z.infer<typeof StreamRequest>;

/** How every client, in whatever process, sees the host service. */
export interface HostCalls {
  call<N extends ProcedureName>(name: N, input: ProcedureInput<N>): Promise<ProcedureOutput<N>>;
}
