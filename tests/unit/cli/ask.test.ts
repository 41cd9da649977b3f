import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { requireYes } from "../../../core/cli/ask";
import { UsageError, type Context } from "../../../core/cli/verb";
import { until } from "../server/fakeHost";

function person(isTTY = true): { context: Context; types(text: string): void; leaves(): void; sees(): string } {
  const stdin = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY });
  let seen = "";
  stderr.on("data", (chunk: Buffer) => (seen += String(chunk)));
  return {
    context: { terminal: { stdin, stdout: new PassThrough(), stderr } } as unknown as Context,
    types: (text) => void stdin.write(text),
    leaves: () => void stdin.end(),
    sees: () => seen,
  };
}

describe("asking before something that cannot be taken back", () => {
  it.each(["y\n", "Yes\n", " y \n"])("goes on at %j", async (answer) => {
    const { context, types, sees } = person();
    const asked = requireYes(context, undefined, "All of it is lost. Go on?");
    await until(() => sees() === "All of it is lost. Go on? [y/N] ");
    types(answer);
    await asked;
  });

  it.each(["\n", "n\n", "yikes\n"])("does nothing at %j", async (answer) => {
    const { context, types } = person();
    const asked = requireYes(context, undefined, "Go on?");
    types(answer);
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
  });

  it("does nothing when the input ends instead", async () => {
    const { context, leaves } = person();
    const asked = requireYes(context, undefined, "Go on?");
    leaves();
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
  });

  it("refuses where nobody can answer, and says how to answer", async () => {
    const { context, types } = person(false);
    types("y\n");
    const refused = requireYes(context, false, "Go on?");
    await expect(refused).rejects.toBeInstanceOf(UsageError);
    await expect(refused).rejects.toThrow("--yes");
  });

  it("does not ask when yes was said", async () => {
    const { context, sees } = person(false);
    await requireYes(context, true, "Go on?");
    expect(sees()).toBe("");
  });
});
