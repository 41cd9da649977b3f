import { parseArgs } from "node:util";
import { UsageError, type OptionSpec, type ParseOptions, type Values, type Verb } from "./verb";

/** What every verb understands. */
const everywhere: Record<string, OptionSpec> = {
  json: { type: "boolean", help: "Print data as JSON." },
  help: { type: "boolean", help: "Say how the command is used." },
};

export interface Command {
  readonly verb: Verb;
  readonly operands: readonly string[];
  readonly values: Values<Record<string, OptionSpec>>;
  readonly json: boolean;
  readonly help: boolean;
}

/**
 * Finds the verb and reads its operands and options.
 * @returns undefined when no verb was named (which asks for the overview)
 * @throws UsageError
 */
export function readCommand(verbs: readonly Verb[], args: readonly string[]): Command | undefined {
  if (args.length === 0 || args[0] === "--help" || args[0] === "help") return undefined;
  const verb = longestMatch(verbs, args);
  if (verb === undefined) throw new UsageError(unknown(verbs, args));
  const options: ParseOptions = {};
  for (const [name, { type, multiple }] of Object.entries({ ...verb.options, ...everywhere })) options[name] = multiple === undefined ? { type } : { type, multiple };
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: args.slice(verb.name.split(" ").length), options, allowPositionals: true, strict: true }) as typeof parsed;
  } catch (error) {
    throw new UsageError(`${misread(error as Error & { code?: string })}\n${usageLine(verb)}`);
  }
  const { json, help, ...values } = parsed.values;
  const [least, most] = verb.count;
  const given = parsed.positionals.length;
  if (help !== true && (given < least || given > most)) throw new UsageError(`${given < least ? "Something is missing" : `"${parsed.positionals[most]}" is too much`}.\n${usageLine(verb)}`);
  return { verb, operands: parsed.positionals, values: values as Command["values"], json: json === true, help: help === true };
}

/** What Node's reader of options complains about, in our words. */
function misread({ code, message }: Error & { code?: string }): string {
  const option = /'(--?[^' ]+)/.exec(message)?.[1];
  if (option === undefined) return message;
  if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") return `There is no option ${option}. Put -- before words that begin with a dash and are none.`;
  if (code !== "ERR_PARSE_ARGS_INVALID_OPTION_VALUE") return message;
  return /does not take/.test(message) ? `${option} takes no value.` : `${option} needs a value; write one that begins with a dash as ${option}=VALUE.`;
}

/** The verbs of the noun whose help is asked for (`network --help`); undefined when something else is asked for. */
export function verbsOfNoun(verbs: readonly Verb[], args: readonly string[]): readonly Verb[] | undefined {
  const [noun, next, ...rest] = args;
  if (next !== "--help" || rest.length > 0 || longestMatch(verbs, args) !== undefined) return undefined;
  const below = belowNoun(verbs, noun!);
  return below.length > 0 ? below : undefined;
}

export function usageLine(verb: Verb): string {
  const options = Object.entries(verb.options).map(([name, option]) => `[${optionForm(name, option)}]${option.multiple ? "..." : ""}`);
  return ["Usage: terrarium", verb.name, verb.operands, ...options].filter((part) => part !== "").join(" ");
}

/** @param all every verb: those that begin with this one's word are named too. */
export function helpFor(verb: Verb, all: readonly Verb[] = []): string {
  const rows = Object.entries({ ...verb.options, ...everywhere }).map(([name, option]) => [optionForm(name, option), option.help] as const);
  const width = Math.max(...rows.map(([form]) => form.length));
  const below = belowNoun(all, verb.name).map(({ name, doc }) => `\nterrarium ${name}: ${doc}`);
  return [usageLine(verb), "", verb.doc, ...verb.more.flatMap((paragraph) => ["", paragraph]), "", ...rows.map(([form, help]) => `  ${form.padEnd(width)}  ${help}`), ...below].join("\n");
}

/** What there is to do; with a `noun`, of the verbs that are its own. */
export function overview(verbs: readonly Verb[], noun?: string): string {
  const shown = verbs.filter((verb) => !verb.hidden);
  const forms = shown.map((verb) => `${verb.name} ${verb.operands}`.trim());
  const width = Math.max(...forms.map((form) => form.length));
  return [
    `Usage: terrarium ${noun === undefined ? "" : `${noun} `}VERB ...`,
    "",
    ...shown.map((verb, i) => `  ${forms[i]!.padEnd(width)}  ${verb.doc}`),
    "",
    `A machine is named by its name or by the beginning of its id. \`terrarium ${noun === undefined ? "" : `${noun} `}VERB --help\` says more about a verb.`,
    "--json prints data instead of text. Exit codes: 0 done, 1 failed, 2 written wrongly; exec passes on its command's.",
  ].join("\n");
}

function optionForm(name: string, { type, value }: OptionSpec): string {
  return type === "boolean" ? `--${name}` : `--${name} ${value ?? "TEXT"}`;
}

function longestMatch(verbs: readonly Verb[], args: readonly string[]): Verb | undefined {
  return verbs
    .filter((verb) => verb.name.split(" ").every((word, i) => args[i] === word))
    .sort((a, b) => b.name.length - a.name.length)[0];
}

function belowNoun(verbs: readonly Verb[], noun: string): Verb[] {
  return verbs.filter((verb) => !verb.hidden && verb.name.startsWith(`${noun} `));
}

function unknown(verbs: readonly Verb[], args: readonly string[]): string {
  const below = belowNoun(verbs, args[0]!).map((verb) => verb.name);
  if (below.length > 0) return `"${args.slice(0, 2).join(" ")}" is no command. There are: ${below.join(", ")}.`;
  return `"${args[0]}" is no command. "terrarium --help" lists them.`;
}
