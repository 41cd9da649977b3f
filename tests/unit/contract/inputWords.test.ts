import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { faultInWords, inputInWords } from "../../../core/contract/inputWords";
import { MachineConfig, MachineSpec } from "../../../core/contract/model";
import { isProcedureName, procedures, type ProcedureName } from "../../../core/contract/procedures";

function words(schema: z.ZodType, value: unknown): string {
  return inputInWords(schema.safeParse(value).error?.issues[0]);
}
const exec = { id: "0123abcd-1111-4111-8111-1122334455ff", command: "true" };

describe("what is wrong with an input", () => {
  it("is said with what is allowed", () => {
    expect(words(procedures["machine.exec"].input, { ...exec, timeoutMs: 601_000 })).toBe("The time limit in milliseconds must be at most 600000.");
    expect(words(procedures["machine.exec"].input, { ...exec, timeoutMs: 0 })).toBe("The time limit in milliseconds must be more than 0.");
    expect(words(procedures["machine.exec"].input, { ...exec, timeoutMs: 1.5 })).toBe("The time limit in milliseconds must be a whole number.");
    expect(words(procedures["machine.exec"].input, { ...exec, command: "" })).toBe("The value of command must not be empty.");
    expect(words(procedures["machine.typeText"].input, { id: exec.id, text: "x".repeat(10_001) })).toBe("The value of text must be at most 10000 characters long.");
    expect(words(procedures["machine.setLink"].input, { id: exec.id, adapter: 0 })).toBe("The value of up must be true or false.");
    expect(words(procedures["machine.log"].input, { id: exec.id, log: "kernel" })).toBe("The value of log must be one of engine, serial0, events.");
  });

  it("names the place in a larger record", () => {
    const spec = { name: "web", memoryMiB: 256, boot: { kind: "starter" } };
    expect(words(z.object({ spec: MachineSpec }), { spec: { ...spec, memoryMiB: "lots" } })).toBe("The memory in MB (spec.memoryMiB) must be a number.");
    expect(words(z.object({ spec: MachineSpec }), { spec: { ...spec, disks: Array.from({ length: 5 }, () => ({ sizeBytes: 512 })) } })).toBe("The value of spec.disks must be at most 4 entries long.");
    expect(words(z.object({ spec: MachineSpec }), { spec: { ...spec, boot: { kind: "floppy" } } })).toBe("The value of spec.boot.kind has none of the forms that are known.");
  });

  it("is said in the schema's own words where it has some", () => {
    expect(words(MachineSpec, { name: "", memoryMiB: 256, boot: { kind: "starter" } })).toBe("Give the machine a name.");
    expect(faultInWords(MachineConfig.safeParse({}).error?.issues[0])).toBe('"version" must be 1');
  });

  it("never has the checker's words in it, whatever is sent", () => {
    const names = Object.keys(procedures).filter(isProcedureName);
    fc.assert(
      fc.property(fc.constantFrom<ProcedureName>(...names), fc.anything(), fc.dictionary(fc.constantFrom("id", "spec", "patch", "keys", "text", "path", "memoryMiB", "timeoutMs", "name"), fc.anything()), (name, plain, record) => {
        for (const input of [plain, record]) {
          const parsed = procedures[name].input.safeParse(input);
          if (parsed.success) continue;
          expect(inputInWords(parsed.error.issues[0])).not.toMatch(/expected|received|Invalid|Too (?:big|small)|Unrecognized/);
        }
      }),
    );
  });
});
