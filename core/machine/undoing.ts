import { TerrariumError, toErrorData } from "../contract/errors";

/** What takes back what was done so far, the latest first. */
export class Undoing {
  private readonly steps: (() => Promise<unknown>)[] = [];

  add(step: () => Promise<unknown>): void {
    this.steps.push(step);
  }

  /** Takes back as much as can be, and stops where something cannot: what was done before it rests on it. @returns what to throw */
  async because(failure: unknown): Promise<unknown> {
    try {
      for (const step of this.steps.splice(0).reverse()) await step();
      return failure;
    } catch (second) {
      const { code, message, remedy } = toErrorData(failure);
      return new TerrariumError(code, `${message} What had been done could not all be taken back: ${toErrorData(second).message}`, remedy ?? "Nothing is lost. Free space or mend the disk, and start Terrarium again: it puts the rest in order.", { cause: failure });
    }
  }
}
