import type { ParseArgsConfig } from "node:util";
import type { ErrorData } from "../contract/errors";
import type { Runtime } from "../machine/access";
import type { HostConnection } from "../server/client";

/** Where a command reads and writes: the process's own streams, or a test's. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream | NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
}

export interface OptionSpec {
  readonly type: "string" | "boolean";
  readonly multiple?: boolean;
  /** What stands for the value in the help: `--memory SIZE`. */
  readonly value?: string;
  readonly help: string;
}

type ValueOf<O extends OptionSpec> = O["type"] extends "boolean" ? boolean : O["multiple"] extends true ? string[] : string;
export type Values<O extends Record<string, OptionSpec>> = { readonly [K in keyof O]?: ValueOf<O[K]> };

/** What a verb works with. */
export interface Context {
  readonly home: string;
  readonly runtime: Runtime;
  readonly terminal: Terminal;
  /** Prints data instead of text. */
  readonly json: boolean;
  /** The host service, started when none runs. The connection is closed when the verb is done. */
  connect(): Promise<HostConnection>;
  /** The host service if one runs. */
  connectIfRunning(): Promise<HostConnection | undefined>;
  /** Prints `data` when `--json` was given, else `text`. */
  print(data: unknown, text: string): void;
  /** Tells the person something beside the result, on standard error. */
  note(text: string): void;
  /** Runs `whenAsked` instead of dying when Ctrl+C is pressed, or the process is told to end, while `work` goes on. */
  interruptible<T>(work: Promise<T>, whenAsked: () => void): Promise<T>;
}

/** One command of the command line. */
export interface Verb {
  /** `start`, `trash list`. */
  readonly name: string;
  /** What follows the name, without the options: `NAME`. */
  readonly operands: string;
  /** How many operands there may be. */
  readonly count: readonly [least: number, most: number];
  /** One sentence. Where there is a procedure it is that one's. */
  readonly doc: string;
  /** More for `--help`, a paragraph each. */
  readonly more: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly hidden: boolean;
  /** @returns the exit code; 0 when it returns nothing */
  run(context: Context, operands: readonly string[], values: Values<Record<string, OptionSpec>>): Promise<number | void>;
}

/** Declares a verb; its `run` sees the options as they are declared. */
export function verb<const O extends Record<string, OptionSpec>>(declared: {
  name: string;
  operands?: string;
  count?: readonly [number, number];
  doc: string;
  more?: readonly string[];
  options?: O;
  hidden?: boolean;
  run(context: Context, operands: readonly string[], values: Values<O>): Promise<number | void>;
}): Verb {
  return { operands: "", count: [0, 0], more: [], hidden: false, ...declared, options: declared.options ?? {}, run: declared.run as Verb["run"] };
}

/** The command was written wrongly. Exit code 2. */
export class UsageError extends Error {}

export type ParseOptions = NonNullable<ParseArgsConfig["options"]>;

export function describeError(error: ErrorData): string {
  return error.remedy === undefined ? `terrarium: ${error.message}` : `terrarium: ${error.message}\n  ${error.remedy}`;
}
