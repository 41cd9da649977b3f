import { createInterface } from "node:readline";
import { TerrariumError } from "../contract/errors";
import { UsageError, type Context, type Terminal } from "./verb";

/** The option that stands for the answer, in every verb that asks. */
export const yesOption = { type: "boolean", help: "Do not ask." } as const;

/**
 * Asks before something that cannot be taken back, unless `yes` was said already.
 * @param question what will be lost, and what is asked
 * @throws UsageError when nobody is there to ask; TerrariumError `cancelled` when the answer is anything but yes
 */
export async function requireYes({ terminal }: Context, yes: boolean | undefined, question: string): Promise<void> {
  if (yes) return;
  if (!isKeyboard(terminal.stdin) || terminal.stderr.isTTY !== true) throw new UsageError(`${question}\nThere is no terminal to answer on. Say yes with --yes.`);
  terminal.stderr.write(`${question} [y/N] `);
  if (!/^y(es)?$/i.test((await readLine(terminal)).trim())) throw new TerrariumError("cancelled", "Nothing was done.");
}

function isKeyboard(stdin: Terminal["stdin"]): boolean {
  return "isTTY" in stdin && stdin.isTTY;
}

/** Empty when the input ends instead. */
async function readLine({ stdin, stderr }: Terminal): Promise<string> {
  const lines = createInterface({ input: stdin, terminal: false });
  try {
    return await new Promise((resolve) => {
      lines.once("line", resolve);
      lines.once("close", () => {
        stderr.write("\n");
        resolve("");
      });
    });
  } finally {
    lines.removeAllListeners("close");
    lines.close();
  }
}
