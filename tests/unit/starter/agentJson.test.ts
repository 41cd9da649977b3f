import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const library = join(resolve(__dirname, "../../.."), "assets/starter/root/usr/lib/terrarium");

/** Gives each text to the agent's JSON reader, run by this computer's perl, and returns what it writes of it, or its error. */
function throughAgent(texts: readonly string[]): string[] {
  const program = `while (my $line = <STDIN>) { my $text = pack("H*", $line =~ s/\\s//gr);
    my $answer = eval { Terrarium::Json::encode(Terrarium::Json::decode($text)) } // "error: $@"; print unpack("H*", $answer), "\\n" }`;
  const input = texts.map((text) => `${Buffer.from(text).toString("hex")}\n`).join("");
  const output = execFileSync("perl", ["-I", library, "-MTerrarium::Json", "-e", program], {
    input,
    maxBuffer: 64 << 20,
    env: { ...process.env, LC_ALL: "C" },
  });
  return output.toString().split("\n").slice(0, -1).map((line) => Buffer.from(line, "hex").toString());
}

/** A value as text, whatever the order and the names of its members. */
function written(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(written).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}:${written(member)}`);
  return `{${members.sort().join()}}`;
}

describe("the guest agent's JSON", () => {
  it("gives back every value as it was", () => {
    // Numbers go through as text; these are written alike by everybody.
    const values = fc.sample(fc.jsonValue({ maxDepth: 5, noUnicodeString: false }), 300);
    const seen = throughAgent(values.map((value) => JSON.stringify(value)));
    seen.forEach((text, index) => expect(written(JSON.parse(text))).toBe(written(JSON.parse(JSON.stringify(values[index])))));
  });

  it("gives back the names that mean something in other languages", () => {
    const text = '{"__proto__":[1],"constructor":{"__proto__":null},"toString":""}';
    expect(throughAgent([text]).map((answer) => written(JSON.parse(answer)))).toEqual([written(JSON.parse(text))]);
  });

  it("reads escapes and pairs of surrogates, and replaces half a pair", () => {
    expect(throughAgent(['"\\u00e9\\ud83d\\ude00\\/\\n"', '"\\ud83dx"'])).toEqual(['"é😀/\\n"', '"\uFFFDx"']);
  });

  it("refuses what is not JSON, however deep or long, and lives on", () => {
    const bad = ["", "{", "[1,]", '{"a" 1}', "01", "1.", '"tab\t"', '"\\x"', "nul", "{}x", "[".repeat(100_000), `"${"a".repeat(200_000)}`, "--1", "+1", "'a'"];
    const seen = throughAgent([...bad, "[1]"]);
    for (const text of seen.slice(0, -1)) expect(text).toMatch(/^error: JSON: /);
    expect(seen.at(-1)).toBe("[1]");
  });

  it("never dies of arbitrary text", () => {
    const texts = fc.sample(fc.string({ unit: fc.constantFrom(..."{}[]\",:\\u0019eE+-.tfn a\u00e9") }), 500);
    const seen = throughAgent(texts);
    expect(seen).toHaveLength(texts.length);
    seen.forEach((text, index) => {
      let expected: unknown = undefined;
      try {
        expected = JSON.parse(texts[index] ?? "");
      } catch (error) {
        expect(error).toBeInstanceOf(SyntaxError);
        expect(text).toMatch(/^error: JSON: /);
        return;
      }
      // What JavaScript reads the agent reads too, unless a limit of its own is in the way.
      if (!text.startsWith("error: ")) expect(JSON.parse(text)).toEqual(expected);
    });
  });
});

describe("the guest agent's base64", () => {
  it("is everybody's base64, both ways", () => {
    const program = `while (my $line = <STDIN>) { chomp $line; my $bytes = Terrarium::Json::from_base64($line);
      print defined $bytes ? Terrarium::Json::to_base64($bytes) . " " . length($bytes) : "refused", "\\n" }`;
    const samples = Array.from({ length: 200 }, (_, length) => Buffer.alloc(length, length * 37 + 11));
    const good = samples.map((bytes) => bytes.toString("base64"));
    const bad = ["a", "ab=c", "a===", "ab!=", "====", "YWI=\u00e9"];
    const output = execFileSync("perl", ["-I", library, "-MTerrarium::Json", "-e", program], {
      input: [...good, ...bad].map((text) => `${text}\n`).join(""),
      env: { ...process.env, LC_ALL: "C" },
    });
    const lines = output.toString().split("\n").slice(0, -1);
    expect(lines).toEqual([...samples.map((bytes, index) => `${good[index]} ${bytes.length}`), ...bad.map(() => "refused")]);
  });
});
