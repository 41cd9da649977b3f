import type * as z from "zod";

/** A call of the host service. `doc` is what the documentation and `terrarium` say about the call. */
export interface Procedure<I extends z.ZodType, O extends z.ZodType> {
  readonly doc: string;
  readonly input: I;
  readonly output: O;
}

export function procedure<I extends z.ZodType, O extends z.ZodType>(doc: string, input: I, output: O): Procedure<I, O> {
  return { doc, input, output };
}
