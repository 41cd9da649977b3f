import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { MachineInfo } from "../../../core/contract/model";
import { fakeRuntime, TestHost } from "../../support/host";

describe("a configuration edited by hand", () => {
  let folder: string;
  let test: TestHost;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-fake-"));
    test = await TestHost.open({ runtime: await fakeRuntime(folder) });
  });
  afterEach(async () => {
    await test.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const file = (machine: MachineInfo): string => join(machine.folder, "machine.json");
  const list = () => test.host.call("machine.list", {});

  it("takes effect at once", async () => {
    const machine = await test.create("edited");
    const text = await readFile(file(machine), "utf8");
    await writeFile(file(machine), text.replace(/"memoryMiB": \d+/, '"memoryMiB": 96'));
    await test.until(machine.id, ({ config }) => config?.memoryMiB === 96);
  });

  it("that cannot be read makes the machine unusable until it is mended, and then it is the machine it was", async () => {
    const machine = await test.create("mended");
    const text = await readFile(file(machine), "utf8");
    await test.close();
    await writeFile(file(machine), "{");
    await test.reopen();
    const [broken] = await list();
    expect(broken).toMatchObject({ state: "broken", name: "mended" });
    expect(broken?.id).not.toBe(machine.id);
    await writeFile(file(machine), text);
    await vi.waitFor(async () => expect((await list()).map(({ id, name, state }) => ({ id, name, state }))).toEqual([{ id: machine.id, name: "mended", state: "off" }]), { timeout: 5000 });
    expect(await readFile(file(machine), "utf8")).toBe(text);
    await test.start(machine.id);
  });

  it("is let be while the machine runs", async () => {
    const machine = await test.create("busy");
    await test.start(machine.id);
    await writeFile(file(machine), "{");
    await test.host.call("machine.pause", { id: machine.id });
    expect(await test.get(machine.id)).toMatchObject({ state: "paused", config: { name: "busy" } });
  });

  it("of a copy that cannot be read takes no name away from the original", async () => {
    const machine = await test.create("original");
    await test.close();
    const copy = join(dirname(machine.folder), "copy");
    await cp(machine.folder, copy, { recursive: true });
    await writeFile(join(copy, "machine.json"), (await readFile(file(machine), "utf8")).replace(/"memoryMiB": \d+/, '"memoryMiB": "lots"'));
    await test.reopen();
    expect((await list()).filter(({ state }) => state === "broken")).toHaveLength(1);
    await test.host.call("machine.set", { id: machine.id, patch: { notes: "still mine" } });
    expect((await test.get(machine.id)).config?.notes).toBe("still mine");
  });
});
