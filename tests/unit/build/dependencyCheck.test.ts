import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkDependencies } from "../../../build/dependencyCheck.mjs";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "terrarium-layers-"));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

async function faultsOf(sources: Record<string, string>): Promise<string> {
  for (const [path, text] of Object.entries(sources)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return (await checkDependencies(root)).faults.join("\n");
}

describe("the dependency rules", () => {
  it("let an arrow of the layout pass", async () => {
    const faults = await faultsOf({
      "core/base/result.ts": "export const ok = 1;",
      "core/net/port.ts": 'import { ok } from "../base/result"; export const port = ok;',
      "core/emulator/main.ts": 'import { port } from "../net/port"; import { readFileSync } from "node:fs"; readFileSync(String(port));',
    });
    expect(faults).toBe("");
  });

  it("refuse an import against an arrow, types included, with the reason", async () => {
    const faults = await faultsOf({
      "core/storage/file.ts": "export type File = number;",
      "core/net/port.ts": 'import type { File } from "../storage/file"; export type Port = File;',
    });
    expect(faults).toContain("core/net/port.ts -> core/storage/file.ts");
    expect(faults).toContain("knows neither machines nor disks");
  });

  it("refuse to pass by the entrance of a module", async () => {
    const faults = await faultsOf({
      "core/machine/index.ts": "export const createHost = 1;",
      "core/machine/registry.ts": "export const registry = 1;",
      "electron/main.ts": 'import { createHost } from "../core/machine/index"; export const a = createHost;',
      "electron/menu.ts": 'import { registry } from "../core/machine/registry"; export const b = registry;',
    });
    expect(faults).toContain("electron/menu.ts -> core/machine/registry.ts");
    expect(faults).not.toContain("electron/main.ts");
  });

  it("refuse Node in a window and in the contract", async () => {
    const faults = await faultsOf({
      "core/contract/model.ts": 'import { join } from "node:path"; export const a = join;',
      "renderer/main.tsx": 'import { readFileSync } from "fs"; export const b = readFileSync;',
    });
    expect(faults).toContain("core-contract-without-node");
    expect(faults).toContain("renderer-without-node");
  });

  it("refuse one feature importing another, and a presentational piece importing the client", async () => {
    const faults = await faultsOf({
      "renderer/api/client.ts": "export const client = 1;",
      "renderer/ui/Button.tsx": 'import { client } from "../api/client"; export const Button = client;',
      "renderer/features/wizard/draft.ts": "export const draft = 1;",
      "renderer/features/machines/List.tsx": 'import { draft } from "../wizard/draft"; export const List = draft;',
    });
    expect(faults).toContain("renderer/features/machines/List.tsx -> renderer/features/wizard/draft.ts");
    expect(faults).toContain("renderer/ui/Button.tsx -> renderer/api/client.ts");
  });

  it("refuse a cycle, an import that leads nowhere, and a folder without a layer", async () => {
    const faults = await faultsOf({
      "core/base/a.ts": 'import { b } from "./b"; export const a = () => b;',
      "core/base/b.ts": 'import { a } from "./a"; export const b = () => a;',
      "core/base/c.ts": 'import { d } from "./missing"; export const c = d;',
      "core/extra/e.ts": "export const e = 1;",
    });
    expect(faults).toContain("no-circular");
    expect(faults).toContain("not-to-unresolvable");
    expect(faults).toContain("core/extra/e.ts lies in no layer");
  });

  it("do not call an empty tree clean", async () => {
    mkdirSync(join(root, "core"));
    expect((await checkDependencies(root)).faults.join()).toContain("0 of 0 sources");
  });
});
