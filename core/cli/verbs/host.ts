import { TerrariumError } from "../../contract/errors";
import { procedures } from "../../contract/procedures";
import { readLock } from "../../machine/access";
import { untilReleased } from "../connect";
import { serve } from "../serve";
import { count } from "../spec";
import { table } from "../table";
import { verb, type Verb } from "../verb";

/** The host service itself, its jobs and its host. */
export const hostVerbs: readonly Verb[] = [
  verb({
    name: "jobs",
    doc: procedures["job.list"].doc,
    async run(context) {
      const jobs = await (await context.connect()).call("job.list", {});
      const rows = jobs.map((job) => [job.id, job.title, job.state, job.progress === undefined ? "" : `${Math.round(job.progress * 100)} %`, job.error?.message ?? job.detail ?? ""]);
      context.print(jobs, jobs.length === 0 ? "There are no jobs." : table(["ID", "JOB", "STATE", "PROGRESS", "DETAIL"], rows));
    },
  }),
  verb({
    name: "jobs cancel",
    operands: "ID",
    count: [1, 1],
    doc: procedures["job.cancel"].doc,
    async run(context, [id]) {
      const host = await context.connect();
      await host.call("job.cancel", { id: id! });
      const job = await host.call("job.wait", { id: id! });
      context.print(job, job.state === "cancelled" ? `${job.title} was cancelled.` : `${job.title} had ended before (${job.state}).`);
    },
  }),
  verb({
    name: "doctor",
    doc: procedures["host.doctor"].doc,
    more: ["Fails when something that machines need is missing."],
    async run(context) {
      const checks = await (await context.connect()).call("host.doctor", {});
      const lines = checks.map((check) => `${{ ok: "ok     ", warning: "warning", error: "error  " }[check.status]}  ${check.title}: ${check.detail}${check.remedy === undefined ? "" : `\n         ${check.remedy}`}`);
      context.print(checks, lines.join("\n"));
      return checks.some((check) => check.status === "error") ? 1 : 0;
    },
  }),
  verb({
    name: "serve",
    doc: "Runs the host service without the app, until it is stopped. Machines go on when it ends.",
    more: ["A host service that another command has started for itself gives way to this one."],
    options: {
      stop: { type: "boolean", help: "End the one that runs." },
      idle: { type: "string", value: "SECONDS", help: "End by itself after this long without a running machine, a job or a client." },
    },
    async run(context, _operands, values) {
      const { home, runtime, terminal } = context;
      if (!values.stop) return await serve({ home, runtime, stderr: terminal.stderr, ...(values.idle === undefined ? {} : { idleMs: 1000 * count("--idle", values.idle) }) });
      const holder = await readLock(home);
      const host = await context.connectIfRunning();
      if (host === undefined) {
        if (holder) throw new TerrariumError("locked", `Process ${holder.pid} holds the home ${home} but does not answer.`, "End that process.");
        return context.print({ stopped: false }, "No host service is running.");
      }
      await host.call("host.stop", {});
      await untilReleased(home, holder);
      context.print({ stopped: true }, "The host service has ended. Machines go on.");
    },
  }),
];
