/** Where a part of the program writes what happened. Each line carries a time, a level, its scope and the message. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
  /** `cause` is printed with its stack: it is for developers, `message` is for people. */
  error(message: string, cause?: unknown): void;
  /** A log that adds `scope` to every line. */
  child(scope: string): Log;
}

type Level = "info" | "warn" | "error";

/** A log that hands finished lines (without a line end) to `write`. */
export function createLog(write: (line: string) => void, now: () => number = Date.now, scope = ""): Log {
  const put = (level: Level, message: string): void => {
    const prefix = scope ? `${scope}: ` : "";
    write(`${new Date(now()).toISOString()} ${level.padEnd(5)} ${prefix}${message}`);
  };
  return {
    info: (message) => put("info", message),
    warn: (message) => put("warn", message),
    error(message, cause) {
      put("error", message);
      if (cause !== undefined) put("error", cause instanceof Error ? (cause.stack ?? String(cause)) : String(cause));
    },
    child: (inner) => createLog(write, now, scope ? `${scope}/${inner}` : inner),
  };
}

/** A log that keeps nothing. */
export const silentLog: Log = createLog(() => undefined);
