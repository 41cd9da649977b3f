import { TerrariumError } from "../contract/errors";
import type { JobInfo, MachineInfo } from "../contract/model";
import type { HostConnection } from "../server/client";
import type { Context } from "./verb";

/**
 * The machine a person means: by its exact name, by its id or at least four characters of its beginning, or by its name
 * in other capitals.
 * @throws TerrarriumError `not-found`, also when it could be several
 */
export async function findMachine(host: HostConnection, said: string): Promise<MachineInfo> {
  return chooseMachine(await host.call("machine.list", {}), said);
}

export function chooseMachine(machines: readonly MachineInfo[], said: string): MachineInfo {
  const name = said.normalize("NFC").trim();
  const ways: ((machine: MachineInfo) => boolean)[] = [
    (machine) => machine.id === said.toLowerCase(),
    (machine) => machine.name === name,
    (machine) => name.length >= 4 && /^[0-9a-f-]+$/i.test(name) && machine.id.startsWith(name.toLowerCase()),
    (machine) => machine.name.toLowerCase() === name.toLowerCase(),
  ];
  for (const matches of ways) {
    const found = machines.filter(matches);
    if (found.length > 1) throw new TerrariumError("not-found", `"${said}" could be any of ${found.length} machines.`, `Use an id: ${found.map((machine) => `${machine.id.slice(0, 8)} (${machine.name}, ${machine.state})`).join(", ")}.`);
    if (found[0]) return found[0];
  }
  throw new TerrariumError("not-found", `There is no machine "${said}".`, machines.length > 0 ? `There are: ${machines.slice(0, 10).map((machine) => machine.name).join(", ")}${machines.length > 10 ? ", ..." : ""}.` : "Create one with: terrarium create NAME");
}

/**
 * Waits until the job has ended, showing how far it is. Ctrl+C cancels the job, and the end is still waited for, because
 * what the job had begun is undone before it ends.
 * @throws TerrariumError what it failed with; `cancelled`
 */
export async function finishJob(context: Context, host: HostConnection, job: JobInfo): Promise<void> {
  const progress = showProgress(context, host, job);
  let ended: JobInfo;
  try {
    ended = await context.interruptible(host.call("job.wait", { id: job.id }), () => {
      context.note(job.cancellable ? "Cancelling." : "This cannot be cancelled.");
      if (job.cancellable) host.call("job.cancel", { id: job.id }).catch((error: unknown) => context.note(`It could not be cancelled: ${(error as Error).message}`));
    });
  } finally {
    progress.end();
  }
  if (ended.state === "failed") throw ended.error ? TerrariumError.fromData(ended.error) : new TerrariumError("internal", `${ended.title} failed.`);
  if (ended.state === "cancelled") throw new TerrariumError("cancelled", `${ended.title} was cancelled.`);
}

/** One line on the terminal that changes in place; nothing where there is no terminal. */
function showProgress({ terminal }: Context, host: HostConnection, job: JobInfo): { end(): void } {
  if (terminal.stderr.isTTY !== true) return { end: () => undefined };
  const draw = ({ title, progress, detail }: JobInfo): void => {
    const part = progress === undefined ? "" : ` ${Math.round(progress * 100)} %`;
    terminal.stderr.write(`\r\u001b[K${`${title}${part}${detail === undefined ? "" : `: ${detail}`}`.slice(0, (terminal.stderr.columns ?? 80) - 1)}`);
  };
  draw(job);
  const subscription = host.onDidChange((event) => event.type === "job" && event.job.id === job.id && draw(event.job));
  return {
    end() {
      subscription.dispose();
      terminal.stderr.write("\r\u001b[K");
    },
  };
}
