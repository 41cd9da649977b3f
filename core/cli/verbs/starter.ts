import { createLog } from "../../base/log";
import { verb, type Verb } from "../verb";

/** What set-up does, once for everybody who uses this checkout. */
export const starterVerbs: readonly Verb[] = [
  verb({
    name: "starter prepare",
    doc: "Boots the starter guest once and keeps its state, so that machines start from it in a moment.",
    hidden: true,
    async run(context) {
      const { prepareDefaultState } = await import("../../machine/index");
      const abort = new AbortController();
      const log = createLog((line) => context.note(line));
      await context.interruptible(prepareDefaultState(context.runtime, log, abort.signal), () => abort.abort());
      context.print({ ready: true }, "The pre-booted state is ready.");
    },
  }),
];
