import { describe, expect, it } from "vitest";
import { procedures } from "../../../core/contract/procedures";
import { verbs } from "../../../core/cli/run";
import { helpFor, overview, readCommand, verbsOfNoun } from "../../../core/cli/usage";
import { UsageError, type Context } from "../../../core/cli/verb";

describe("the command line", () => {
  it("reads operands and options in any order", () => {
    const command = readCommand(verbs, ["create", "--memory", "512M", "web 01", "--disk", "1G", "--disk=2G", "--json"]);
    expect(command).toMatchObject({ verb: { name: "create" }, operands: ["web 01"], values: { memory: "512M", disk: ["1G", "2G"] }, json: true });
  });

  it("leaves everything after -- to the guest's command", () => {
    const command = readCommand(verbs, ["exec", "web", "--json", "--", "ls", "--json", "-la"]);
    expect(command).toMatchObject({ operands: ["web", "ls", "--json", "-la"], json: true });
  });

  it("knows verbs of two words", () => {
    expect(readCommand(verbs, ["trash", "restore", "abc"])).toMatchObject({ verb: { name: "trash restore" }, operands: ["abc"] });
    expect(readCommand(verbs, ["jobs"])).toMatchObject({ verb: { name: "jobs" } });
    expect(readCommand(verbs, ["jobs", "cancel", "1"])).toMatchObject({ verb: { name: "jobs cancel" } });
  });

  it.each([
    ["a verb that does not exist", ["dance"]],
    ["half a verb", ["trash"]],
    ["an option that does not exist", ["list", "--fast"]],
    ["an option without its value", ["create", "web", "--memory"]],
    ["a missing operand", ["start"]],
    ["an operand too many", ["start", "a", "b"]],
    ["a value for a switch", ["start", "a", "--wait=yes"]],
  ])("refuses %s", (_what, args) => {
    expect(() => readCommand(verbs, args)).toThrow(UsageError);
  });

  it.each([
    [["list", "--fast"], "There is no option --fast."],
    [["create", "web", "--memory"], "--memory needs a value"],
    [["create", "web", "--memory", "--json"], "--memory needs a value"],
    [["start", "a", "--wait=yes"], "--wait takes no value."],
  ])("says of %j in its own words what is wrong", (args, words) => {
    expect(() => readCommand(verbs, args)).toThrow(words);
  });

  it("says how long a command may take at most", async () => {
    const { verb, operands, values } = readCommand(verbs, ["exec", "web", "--timeout", "601", "--", "true"])!;
    await expect(verb.run({} as Context, operands, values)).rejects.toThrow('--timeout: "601" is not a whole number from 1 to 600.');
  });

  it("asks for the overview when nothing is asked", () => {
    for (const args of [[], ["--help"], ["help"]]) expect(readCommand(verbs, args)).toBeUndefined();
  });

  it("has a help for every verb, with its options, although operands are missing", () => {
    for (const verb of verbs) {
      expect(readCommand(verbs, [...verb.name.split(" "), "--help"])?.help).toBe(true);
      const help = helpFor(verb);
      expect(help).toContain(verb.doc);
      for (const option of Object.keys(verb.options)) expect(help).toContain(`--${option}`);
    }
    expect(helpFor(verbs.find((verb) => verb.name === "pause")!)).toContain(procedures["machine.pause"].doc);
  });

  it("lists every verb but the hidden ones", () => {
    const text = overview(verbs);
    for (const verb of verbs) expect(text.includes(`  ${verb.name} `)).toBe(!verb.hidden);
  });

  it("lists the verbs of a noun whose help is asked for, and no others", () => {
    const text = overview(verbsOfNoun(verbs, ["adapter", "--help"])!, "adapter");
    for (const { name, hidden } of verbs) expect(text.includes(`  ${name} `)).toBe(name.startsWith("adapter ") && !hidden);
    expect(text).toContain("Usage: terrarium adapter VERB ...");
    for (const noun of new Set(verbs.filter(({ name, hidden }) => name.includes(" ") && !hidden).map(({ name }) => name.split(" ")[0]!))) {
      const ownVerb = verbs.find(({ name }) => name === noun);
      const help = ownVerb ? helpFor(ownVerb, verbs) : overview(verbsOfNoun(verbs, [noun, "--help"])!, noun);
      for (const { name, hidden } of verbs) if (name.startsWith(`${noun} `) && !hidden) expect(help).toContain(name);
    }
    for (const args of [["list", "--help"], ["jobs", "--help"], ["dance", "--help"], ["network"], ["network", "list", "--help"], ["network", "--help", "x"], []]) expect(verbsOfNoun(verbs, args)).toBeUndefined();
  });

  it("speaks of no null, which nobody can write on a command line", () => {
    for (const verb of verbs) expect(helpFor(verb)).not.toMatch(/\bnull\b/i);
  });
});
