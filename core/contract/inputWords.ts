import type * as z from "zod";

/** Settings by the names people know them by; the others are shown as they are called. */
const nouns: Readonly<Record<string, string>> = {
  memoryMiB: "memory in MB",
  cpus: "number of processors",
  timeoutMs: "time limit in milliseconds",
  maxBytes: "number of bytes",
  bytesPerSecond: "limit in bytes a second",
  operationsPerSecond: "limit in operations a second",
  sizeBytes: "size in bytes",
  growTo: "size in bytes",
  cmdline: "kernel's command line",
  authorizedKeys: "list of SSH keys",
  extraArguments: "list of extra arguments",
};

/** What is wrong with an input, as a sentence. A schema's own words stand for themselves; of what the checker found by itself it is said what is allowed. */
export function inputInWords(issue: z.core.$ZodIssue | undefined): string {
  if (!issue) return "The input does not fit.";
  const allowed = allowedBy(issue);
  if (allowed === undefined) return `${issue.message.charAt(0).toUpperCase()}${issue.message.slice(1)}.`;
  return `${placeOf(issue.path)} ${allowed}.`;
}

/** The same of a file, where the place is always named: `"disks.0.sizeBytes" must be a number`. */
export function faultInWords(issue: z.core.$ZodIssue | undefined): string {
  if (!issue) return "it does not have the form it must have";
  const where = issue.path.length > 0 ? `"${issue.path.map(String).join(".")}"` : "it";
  const allowed = allowedBy(issue);
  return allowed === undefined ? `${where}: ${issue.message}` : `${where} ${allowed}`;
}

/** The place as "memory in MB (spec.memoryMiB)": numbers count from 0, as the files and commands do. */
function placeOf(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "The input";
  const where = path.map(String).join(".");
  const last = [...path].reverse().find((part): part is string => typeof part === "string");
  const noun = last === undefined ? undefined : nouns[last];
  return noun === undefined ? `The value of ${where}` : `The ${noun}${path.length > 1 ? ` (${where})` : ""}`;
}

/** The end of the sentence; undefined for what the schema says in words of its own. */
function allowedBy(issue: z.core.$ZodIssue): string | undefined {
  switch (issue.code) {
    case "too_big":
      return `must be ${issue.inclusive === false ? "less than" : "at most"} ${measure(issue.maximum, issue.origin)}`;
    case "too_small":
      if (issue.minimum === 1 && issue.origin === "string") return "must not be empty";
      return `must be ${issue.inclusive === false ? "more than" : "at least"} ${measure(issue.minimum, issue.origin)}`;
    case "invalid_type":
      if (issue.expected === "int") return "must be a whole number";
      return `must be ${kinds[issue.expected] ?? `of the kind ${issue.expected}`}`;
    case "not_multiple_of":
      return `must be a multiple of ${issue.divisor}`;
    case "invalid_value":
      return `must be ${issue.values.length === 1 ? "" : "one of "}${issue.values.map(String).join(", ")}`;
    case "unrecognized_keys":
      return `has ${issue.keys.map((key) => `“${key}”`).join(", ")}, which nobody knows`;
    case "invalid_union":
      return "has none of the forms that are known";
    case "invalid_format":
      return issue.message.startsWith("Invalid") ? "is not of the form it must have" : undefined;
    default:
      return issue.message.startsWith("Invalid") ? "cannot be used" : undefined;
  }
}

const kinds: Readonly<Record<string, string>> = { number: "a number", string: "text", boolean: "true or false", array: "a list", object: "a record", null: "null" };

function measure(limit: number | bigint, origin: string): string {
  if (origin === "string") return `${limit} ${limit === 1 ? "character" : "characters"} long`;
  return origin === "array" ? `${limit} ${limit === 1 ? "entry" : "entries"} long` : String(limit);
}
