import { TerrariumError, type ErrorCode } from "../contract/errors";

/** The errno name of a failed system call, or undefined when `error` is none. */
export function errno(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

export function isMissing(error: unknown): boolean {
  const code = errno(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

interface Explanation {
  readonly code: ErrorCode;
  readonly because: string;
  readonly remedy: string;
}

function explain(code: string, path: string, access: "read" | "write"): Explanation {
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return { code: "disk-full", because: code === "EDQUOT" ? "your disk quota is used up" : "the disk is full", remedy: `Free some space on the file system that holds ${path}, then try again.` };
    case "EROFS":
      return { code: "read-only", because: "the file system is mounted read-only", remedy: `Make the file system that holds ${path} writable, or choose another home with TERRARIUM_HOME.` };
    case "EACCES":
    case "EPERM":
      return access === "write"
        ? { code: "read-only", because: "you have no permission to write there", remedy: `Give yourself write permission for ${path}, or choose another place.` }
        : { code: "io", because: "you have no permission to read it", remedy: `Give yourself read permission for ${path}.` };
    case "ENOENT":
      return { code: "not-found", because: "it is not there", remedy: `Check the path ${path}, and that the drive it is on is connected.` };
    case "ENOTDIR":
      return { code: "io", because: "a part of the path is a file where a folder is needed", remedy: `Look at ${path} and move the file that is in the way.` };
    case "EISDIR":
      return { code: "io", because: "it is a folder", remedy: "Choose a file." };
    case "EFBIG":
      return { code: "insufficient-resources", because: "the file system, or a limit set for you, does not allow a file of that size", remedy: "Choose a smaller size, or another file system for the home." };
    case "ENAMETOOLONG":
      return { code: "io", because: "the path is longer than the system allows", remedy: "Choose a shorter path." };
    case "ELOOP":
      return { code: "io", because: "its symbolic links lead in a circle", remedy: `Mend the links at ${path}.` };
    case "EMFILE":
    case "ENFILE":
      return { code: "insufficient-resources", because: "too many files are open", remedy: "Stop some machines, or raise the limit of open files (ulimit -n)." };
    case "EXDEV":
      return { code: "io", because: "the two places are on different file systems", remedy: "Keep the whole home on one file system." };
    case "EIO":
      return { code: "io", because: "the disk reported an error", remedy: `Check the drive that holds ${path}; it may be failing.` };
    default:
      return { code: "io", because: `the system says ${code}`, remedy: `Look at ${path} and try again.` };
  }
}

/**
 * The failure of a file operation as people read it. `doing` is what could not be done, as the start of a sentence:
 * "The machine's configuration could not be saved". Errors that are explained already pass through.
 */
export function fileError(error: unknown, doing: string, path: string, access: "read" | "write" = "write"): TerrariumError {
  if (error instanceof TerrariumError) return error;
  const errorName = errno(error);
  if (errorName === "ABORT_ERR") return new TerrariumError("cancelled", `${doing}: it was cancelled.`, undefined, { cause: error });
  if (errorName === undefined) return new TerrariumError("internal", `${doing}: ${error instanceof Error ? error.message : String(error)}`, "This is a fault of Terrarium. Please report it with the log of the host service.", { cause: error });
  const { code, because, remedy } = explain(errorName, path, access);
  return new TerrariumError(code, `${doing} (${path}): ${because}.`, remedy, { cause: error });
}
