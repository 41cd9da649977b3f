import { formatSize, MiB } from "../../base/bytes";
import { TerrariumError } from "../../contract/errors";
import type { MachineInfo } from "../../contract/model";
import { procedures, type ProcedureName } from "../../contract/procedures";
import { isLive } from "../../contract/states";
import type { HostConnection } from "../../server/client";
import { requireYes, yesOption } from "../ask";
import { findMachine, finishJob } from "../machines";
import { count, size } from "../spec";
import { operand, time } from "../table";
import { verb, type Context, type Verb } from "../verb";

/** A machine whose plug is pulled is off after this long, milliseconds, or something is wrong with it. */
const settleMs = 10_000;

/** What is done to a machine's power. */
export const powerVerbs: readonly Verb[] = [
  verb({
    name: "start",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.start"].doc,
    options: {
      wait: { type: "boolean", help: "Wait until the guest's agent answers; in a guest without one, until it runs." },
      timeout: { type: "string", value: "SECONDS", help: "With --wait: fail when that takes longer. 120 unless told." },
    },
    async run(context, [name], values) {
      const seconds = values.timeout === undefined ? 120 : count("--timeout", values.timeout);
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const { job } = await host.call("machine.start", { id });
      await finishJob(context, host, job);
      if (values.wait) await agentAnswers(host, id, seconds);
      await printState(context, host, id);
    },
  }),
  atOnce("pause", "machine.pause"),
  atOnce("resume", "machine.resume"),
  atOnce("reset", "machine.reset"),
  verb({
    name: "shutdown",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.shutdown"].doc,
    options: { timeout: { type: "string", value: "SECONDS", help: "Stop waiting after this long; the guest may still shut down then. 90 unless told." } },
    async run(context, [name], values) {
      const seconds = values.timeout === undefined ? undefined : count("--timeout", values.timeout);
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      await shutDown(context, host, machine, seconds);
      await printState(context, host, machine.id);
    },
  }),
  verb({
    name: "balloon",
    operands: "NAME SIZE",
    count: [2, 2],
    doc: procedures["machine.setBalloon"].doc,
    more: ["SIZE is what the guest is left with, like 512M; its full memory gives all of it back."],
    async run(context, [name, left]) {
      const bytes = size("SIZE", left!);
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      await host.call("machine.setBalloon", { id: machine.id, memoryMiB: Math.floor(bytes / MiB) });
      context.print({}, `The guest of ${machine.name} is asked to make do with ${formatSize(bytes)}.`);
    },
  }),
  verb({
    name: "poweroff",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.powerOff"].doc,
    async run(context, [name]) {
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      await host.call("machine.powerOff", { id });
      // A guest that was powering itself off just then is settled a moment later.
      await untilMachine(host, id, (machine) => !isLive(machine.state), settleMs);
      await printState(context, host, id);
    },
  }),
  verb({
    name: "save",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.save"].doc,
    async run(context, [name]) {
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const { job } = await host.call("machine.save", { id });
      await finishJob(context, host, job);
      await printState(context, host, id);
    },
  }),
  verb({
    name: "discard",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.discardSaved"].doc,
    more: ["What is on the machine's disks stays. It asks first. Without a terminal it does not go on unless it is told --yes."],
    options: { yes: yesOption },
    async run(context, [name], values) {
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const { id } = machine;
      // In any other state the host service says why there is nothing to discard.
      if (machine.state === "saved") {
        await requireYes(context, values.yes, `${machine.name} was saved ${time(machine.since)}. Discard that? Programs that ran in it are lost, with what they had not written to a disk; it then boots as after a power cut.`);
      }
      await host.call("machine.discardSaved", { id });
      await printState(context, host, id);
    },
  }),
];

function atOnce(name: string, procedure: ProcedureName & ("machine.pause" | "machine.resume" | "machine.reset")): Verb {
  return verb({
    name,
    operands: "NAME",
    count: [1, 1],
    doc: procedures[procedure].doc,
    async run(context, [machine]) {
      const host = await context.connect();
      const { id } = await findMachine(host, machine!);
      await host.call(procedure, { id });
      await printState(context, host, id);
    },
  });
}

/**
 * Asks the guest to shut down and waits until it has.
 * @param seconds how long to wait; as long as the host service does when undefined
 * @throws TerrariumError `timeout` when it has not
 */
async function shutDown(context: Context, host: HostConnection, { id, name }: MachineInfo, seconds: number | undefined): Promise<void> {
  const remedy = `It may be waiting for something: look at its console. Or power it off, and it loses what it has not written: terrarium poweroff ${operand(name)}`;
  const until = seconds === undefined ? undefined : performance.now() + seconds * 1000;
  for (;;) {
    const { job } = await host.call("machine.shutdown", { id });
    let late = false;
    const stopWaiting = (): void => {
      late = true;
      // When the connection is gone, the wait for the job says so.
      host.call("job.cancel", { id: job.id }).catch((error: unknown) => context.note(`The waiting could not be stopped: ${(error as Error).message}`));
    };
    const limit = until === undefined ? undefined : setTimeout(stopWaiting, until - performance.now());
    try {
      return await finishJob(context, host, job);
    } catch (error) {
      if (!(error instanceof TerrariumError)) throw error;
      if (late && error.code === "cancelled") throw new TerrariumError("timeout", `${name} did not shut down within ${seconds} seconds.`, remedy);
      if (error.code !== "timeout") throw error;
      if (until === undefined || performance.now() >= until) throw new TerrariumError("timeout", error.message, remedy, { cause: error });
      // The host service has given up, the person has not: the guest is asked once more, unless it is off by now.
      if (!isLive((await host.call("machine.get", { id })).state)) return;
    } finally {
      clearTimeout(limit);
    }
  }
}

async function printState(context: Context, host: HostConnection, id: string): Promise<void> {
  const machine = await host.call("machine.get", { id });
  context.print(machine, `${machine.name} is ${machine.state}.`);
}

/** Settles when the agent answers, or the guest has none. */
async function agentAnswers(host: HostConnection, id: string, seconds: number): Promise<void> {
  const done = await untilMachine(
    host,
    id,
    (machine) => {
      if (machine.guest.agent === "answering" || (machine.guest.agent === "none" && machine.state === "running")) return true;
      if (isLive(machine.state)) return false;
      throw machine.problem ? TerrariumError.fromData(machine.problem) : new TerrariumError("illegal-state", `${machine.name} is ${machine.state} before its agent answered.`, `See what it said: terrarium log ${operand(machine.name)}`);
    },
    seconds * 1000,
  );
  if (!done) throw new TerrariumError("agent-silent", `The guest's agent did not answer within ${seconds} seconds.`, "Give it longer with --timeout, or look at its screen.");
}

/**
 * Waits until the machine is as wanted, which `accepts` says, or throws when it will never be.
 * @returns false when it was not within `limitMs`
 * @throws TerrariumError `not-found` when it was deleted meanwhile, `disconnected`
 */
function untilMachine(host: HostConnection, id: string, accepts: (machine: MachineInfo) => boolean, limitMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      events.dispose();
      hangup.dispose();
      clearTimeout(limit);
    };
    const settle = (accepted: boolean): void => {
      end();
      resolve(accepted);
    };
    const fail = (failure: unknown): void => {
      end();
      reject(failure as Error);
    };
    const look = (machine: MachineInfo): void => {
      try {
        if (accepts(machine)) settle(true);
      } catch (failure) {
        fail(failure);
      }
    };
    const events = host.onDidChange((event) => {
      if (event.type === "machine" && event.machine.id === id) look(event.machine);
      else if (event.type === "machineRemoved" && event.id === id) fail(new TerrariumError("not-found", "The machine was deleted meanwhile."));
    });
    const hangup = host.onDidDisconnect(() => fail(new TerrariumError("disconnected", "The host service ended while the machine was waited for.", "Try again.")));
    const limit = setTimeout(() => settle(false), limitMs);
    // The subscription is there before this question, so nothing can happen unseen between the two.
    host.call("machine.get", { id }).then(look, fail);
  });
}
