import { TerrariumError } from "../../contract/errors";
import type { MachineInfo } from "../../contract/model";
import { procedures, type ProcedureName } from "../../contract/procedures";
import { isLive } from "../../contract/states";
import type { HostConnection } from "../../server/client";
import { findMachine, finishJob } from "../machines";
import { count } from "../spec";
import { verb, type Context, type Verb } from "../verb";

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
  job("shutdown", "machine.shutdown"),
  atOnce("poweroff", "machine.powerOff"),
  job("save", "machine.save"),
];

function atOnce(name: string, procedure: ProcedureName & ("machine.pause" | "machine.resume" | "machine.reset" | "machine.powerOff")): Verb {
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

function job(name: string, procedure: "machine.shutdown" | "machine.save"): Verb {
  return verb({
    name,
    operands: "NAME",
    count: [1, 1],
    doc: procedures[procedure].doc,
    async run(context, [machine]) {
      const host = await context.connect();
      const { id } = await findMachine(host, machine!);
      const { job: started } = await host.call(procedure, { id });
      await finishJob(context, host, started);
      await printState(context, host, id);
    },
  });
}

async function printState(context: Context, host: HostConnection, id: string): Promise<void> {
  const machine = await host.call("machine.get", { id });
  context.print(machine, `${machine.name} is ${machine.state}.`);
}

/** Settles when the agent answers, or the guest has none. */
function agentAnswers(host: HostConnection, id: string, seconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (failure?: unknown): void => {
      events.dispose();
      hangup.dispose();
      clearTimeout(limit);
      if (failure === undefined) resolve();
      else reject(failure as Error);
    };
    const look = (machine: MachineInfo): void => {
      if (machine.guest.agent === "answering" || (machine.guest.agent === "none" && machine.state === "running")) settle();
      else if (!isLive(machine.state)) settle(machine.problem ? TerrariumError.fromData(machine.problem) : new TerrariumError("illegal-state", `${machine.name} is ${machine.state} before its agent answered.`, `See what it said: terrarium log ${machine.name}`));
    };
    const events = host.onDidChange((event) => {
      if (event.type === "machine" && event.machine.id === id) look(event.machine);
      else if (event.type === "machineRemoved" && event.id === id) settle(new TerrariumError("not-found", "The machine was deleted meanwhile."));
    });
    const hangup = host.onDidDisconnect(() => settle(new TerrariumError("disconnected", "The host service ended while the guest was starting.", "Try again.")));
    const limit = setTimeout(() => settle(new TerrariumError("agent-silent", `The guest's agent did not answer within ${seconds} seconds.`, "Give it longer with --timeout, or look at its screen.")), seconds * 1000);
    // The subscription is there before this question, so nothing can happen unseen between the two.
    host.call("machine.get", { id }).then(look, settle);
  });
}
