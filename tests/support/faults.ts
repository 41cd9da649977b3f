import type { FaultHook, Step } from "../../core/storage/atomicFile";

/** An error as the system would report it. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: simulated`), { code });
}

/** Lets the first `after` steps happen and fails the next one. `steps` is what was reached. */
export function failingAfter(after: number, code = "ENOSPC"): { hook: FaultHook; steps: Step[] } {
  const steps: Step[] = [];
  return {
    steps,
    hook: (step) => {
      steps.push(step);
      if (steps.length === after + 1) throw systemError(code);
    },
  };
}
