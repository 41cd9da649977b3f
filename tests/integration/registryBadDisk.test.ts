import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runWithMounts, useDriver } from "../support/bundledDriver";
import { useTemporaryFolder } from "../support/temporaryFolder";

const folder = useTemporaryFolder();
const driver = useDriver(new URL("../support/registryDriver.ts", import.meta.url).pathname);

/** What the driver saw on a small file system of its own. */
async function drive(command: string): Promise<unknown> {
  const place = join(folder.path, "mounted");
  await mkdir(place);
  const outcome = await runWithMounts(process.execPath, [driver.path, command, place], { XDG_RUNTIME_DIR: folder.path });
  expect(outcome.code, outcome.stderr).toBe(0);
  return JSON.parse(outcome.stdout);
}

const remedy = expect.any(String) as string;

describe("a home on a disk that is full", () => {
  it("loses nothing, half-makes nothing, says so, and goes on when there is room again", async () => {
    const full = { code: "disk-full", remedy };
    expect(await drive("full-disk")).toMatchObject({
      errors: { noRoom: full, update: full, create: full, delete: full },
      whole: true,
      machines: ["web"],
      trash: [expect.stringMatching(/^[0-9a-f]{12}$/)],
      reopened: full,
      files: ["kept-disks", "logs", "machines", "states", "trash"],
      names: ["old", "web"],
    });
  });
});

describe("a home that cannot be written", () => {
  it("says so, loses nothing, and goes on when it can be written again", async () => {
    const readOnly = { code: "read-only", remedy };
    expect(await drive("read-only")).toMatchObject({
      errors: { update: readOnly, create: readOnly, delete: readOnly, open: readOnly },
      reopened: readOnly,
      stillListed: ["web"],
      names: ["web"],
      files: ["kept-disks", "lock", "logs", "machines", "states", "trash"],
    });
  });
});
