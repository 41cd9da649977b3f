import { writeFile } from "node:fs/promises";
import { TerrariumError } from "../../contract/errors";
import { procedures } from "../../contract/procedures";
import { findMachine } from "../machines";
import { attachSerial } from "../serial";
import { count, oneOf } from "../spec";
import { UsageError, verb, type Verb } from "../verb";

/** What is done with a guest from outside: its screen, keyboard, serial port, agent and logs. */
export const consoleVerbs: readonly Verb[] = [
  verb({
    name: "serial",
    operands: "NAME",
    count: [1, 1],
    doc: "Connects the terminal to the machine's serial port, beginning with its last 64 KB. Ctrl+] leaves.",
    more: ["Where standard input is no terminal, what comes from it is typed, and the command ends when input has ended and the guest has said nothing for a while."],
    options: { linger: { type: "string", value: "SECONDS", help: "That while. 1 unless told." } },
    async run(context, [name], values) {
      const lingerMs = 1000 * (values.linger === undefined ? 1 : count("--linger", values.linger));
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const stream = await host.openStream({ stream: "serial", id });
      await attachSerial(stream, context.terminal, lingerMs);
    },
  }),
  verb({
    name: "screenshot",
    operands: "NAME FILE",
    count: [2, 2],
    doc: "Writes the machine's screen as PNG to a file; - is standard output.",
    async run(context, [name, file]) {
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const { png, live } = await host.call("machine.screenshot", { id: machine.id });
      if (png === null) throw new TerrariumError("unavailable", `There is no picture of ${machine.name} yet.`, "Start it first.");
      const bytes = Buffer.from(png, "base64");
      if (file === "-") return void context.terminal.stdout.write(bytes);
      try {
        await writeFile(file!, bytes);
      } catch (error) {
        throw new TerrariumError("io", `The screenshot could not be written: ${(error as Error).message}.`, "Choose another file.", { cause: error });
      }
      if (!live) context.note("The machine is not running; this is the last picture kept of it.");
      context.print({ file, bytes: bytes.length, live }, `Wrote ${file}.`);
    },
  }),
  verb({
    name: "type",
    operands: "NAME TEXT",
    count: [2, 2],
    doc: procedures["machine.typeText"].doc,
    options: { enter: { type: "boolean", help: "Press Enter after it." } },
    async run(context, [name, text], values) {
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      await host.call("machine.typeText", { id, text: values.enter ? `${text}\n` : text! });
      context.print({}, "Typed.");
    },
  }),
  verb({
    name: "keys",
    operands: "NAME KEYS...",
    count: [2, 50],
    doc: procedures["machine.sendKeys"].doc,
    more: ["Keys that are pressed together are joined by +: ctrl+alt+delete. Several such groups are pressed one after another."],
    async run(context, [name, ...groups]) {
      const chords = groups.map((group) => group.split("+").filter((key) => key !== ""));
      const empty = groups.find((_, i) => chords[i]!.length === 0);
      if (empty !== undefined) throw new UsageError(`"${empty}" has no keys. Write them like ctrl+alt+delete; the plus key is called plus.`);
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      for (const keys of chords) await host.call("machine.sendKeys", { id, keys });
      context.print({}, "Pressed.");
    },
  }),
  verb({
    name: "exec",
    operands: "NAME -- COMMAND [ARGUMENT]...",
    count: [2, 1000],
    doc: procedures["machine.exec"].doc,
    more: [
      "Its output comes out here, and this command ends with its exit code, or with 128 and the number of the signal that ended it. Where Terrarium could not run it or wait for its end, a line that begins with `terrarium:` says why, and the exit code is 1 (2 when the command was written wrongly).",
      "With --json the two can always be told apart: data on standard output means that it ran, and holds its exit code.",
    ],
    options: {
      stdin: { type: "boolean", help: "Give it what comes from standard input." },
      timeout: { type: "string", value: "SECONDS", help: "Give up after this long. 60 unless told, at most 600." },
    },
    async run(context, [name, command, ...args], values) {
      const timeoutMs = 1000 * (values.timeout === undefined ? 60 : count("--timeout", values.timeout, 600));
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const input = values.stdin ? await readAll(context.terminal.stdin) : undefined;
      const result = await host.call("machine.exec", { id, command: command!, args, timeoutMs, ...(input === undefined ? {} : { input }) });
      if (context.json) context.print(result, "");
      else {
        context.terminal.stdout.write(result.stdout);
        context.terminal.stderr.write(result.stderr);
        if (result.truncated) context.note("The output was too long; its end is missing.");
      }
      if (result.exitCode === null && !context.json) context.note(`The command was ended by signal ${result.signal ?? "unknown"}.`);
      return passedOn(result);
    },
  }),
  verb({
    name: "log",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["machine.log"].doc,
    options: {
      log: { type: "string", value: "events|engine|serial0", help: "Which one. events unless told." },
      bytes: { type: "string", value: "N", help: "At most this much of it, and no more than 1048576. 65536 unless told." },
    },
    async run(context, [name], values) {
      const log = oneOf("--log", ["events", "engine", "serial0"] as const, values.log ?? "events");
      const maxBytes = values.bytes === undefined ? 65_536 : count("--bytes", values.bytes, 1 << 20);
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const result = await host.call("machine.log", { id, log, maxBytes });
      context.print(result, result.text.replace(/\n$/, ""));
    },
  }),
];

/** The guest command's exit code as ours, as shells have it. What does not fit into one is a failure all the same. */
export function passedOn({ exitCode, signal }: { readonly exitCode: number | null; readonly signal: number | null }): number {
  const code = exitCode ?? 128 + (signal ?? 0);
  return code >= 0 && code <= 255 ? code : 1;
}

async function readAll(input: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks).toString("utf8");
}
