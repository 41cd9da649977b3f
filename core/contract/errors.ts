/** What went wrong, as a program can tell it. The message and the remedy are for people. */
export const errorCodes = [
  "invalid-input", // the call's input is malformed or out of range
  "not-found", // no such machine, job, trash entry, file
  "name-taken", // another machine has this name
  "illegal-state", // the machine's state forbids the command
  "busy", // a job holds the machine
  "unsupported", // the machine's engine cannot do this
  "unavailable", // the host lacks something that is needed (an engine, the starter guest)
  "insufficient-resources", // more memory, processors or disk than the host has
  "disk-full",
  "read-only", // the home or a file cannot be written
  "io", // another failure of a file or a device of the host
  "image-unusable", // missing, unreadable, empty or of the wrong type
  "locked", // the home or an image is in use elsewhere
  "broken", // the machine's configuration or files are unusable
  "agent-silent", // the guest agent did not answer
  "engine-failed", // the machine process failed or refused
  "timeout",
  "cancelled",
  "disconnected", // the connection to the host service ended
  "internal", // a bug of ours
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** An error as it crosses processes. */
export interface ErrorData {
  readonly code: ErrorCode;
  /** What failed and on what, one sentence. */
  readonly message: string;
  /** What the person can do about it. */
  readonly remedy?: string | undefined;
}

/** An expected failure with a reason. Everything else that is thrown is a bug and reaches people as `internal`. */
export class TerrariumError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly remedy?: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = "TerrariumError";
  }

  toData(): ErrorData {
    return { code: this.code, message: this.message, ...(this.remedy === undefined ? {} : { remedy: this.remedy }) };
  }

  static fromData(data: ErrorData): TerrariumError {
    return new TerrariumError(data.code, data.message, data.remedy);
  }
}

/** Any thrown value as data that may cross a process. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof TerrariumError) return error.toData();
  const message = error instanceof Error ? error.message : String(error);
  return { code: "internal", message: `Something unexpected happened: ${message}`, remedy: "This is a fault of Terrarium. Please report it with the log of the host service." };
}
