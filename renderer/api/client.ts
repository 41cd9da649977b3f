import type { ErrorCode, ErrorData } from "../../core/contract/errors";
import type { ProcedureInput, ProcedureName, ProcedureOutput } from "../../core/contract/procedures";

/** A refusal or failure of the host service, with what the person can do about it. */
export class CallError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string | undefined;

  constructor(data: ErrorData) {
    super(data.message);
    this.name = "CallError";
    this.code = data.code;
    this.remedy = data.remedy;
  }
}

/** Calls the host service. Rejects with a `CallError`. */
export async function call<N extends ProcedureName>(name: N, input: ProcedureInput<N>): Promise<ProcedureOutput<N>> {
  const answer = await window.terrarium.call(name, input);
  if ("error" in answer) throw new CallError(answer.error);
  // The preload's other side checked the result against the procedure's schema.
  return answer.result as ProcedureOutput<N>;
}

/** The windows, dialogs and clipboard of the desktop. */
export const desktop = {
  openConsole: (id: string, show?: "ssh") => window.terrarium.openConsole(id, show),
  /** Rejects with a `CallError`. */
  async openInBrowser(address: string, port: number): Promise<void> {
    const answer = await window.terrarium.openInBrowser(address, port);
    if ("error" in answer) throw new CallError(answer.error);
  },
  showFolder: (id: string) => window.terrarium.showFolder(id),
  pickFile: (title: string, kind: "iso" | "disk" | "kernel" | "initrd" | "any") => window.terrarium.pickFile({ title, kind }),
  copyText: (text: string) => window.terrarium.copyText(text),
  /** Answers the path, or null when the person cancelled. Rejects with a `CallError`. */
  async saveScreenshot(suggestedName: string, png: string): Promise<string | null> {
    const answer = await window.terrarium.saveScreenshot(suggestedName, png);
    if ("error" in answer) throw new CallError(answer.error);
    return answer.result;
  },
};
