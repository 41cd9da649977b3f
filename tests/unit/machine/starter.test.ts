import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readStarter, requireStarter } from "../../../core/machine/starter";
import { makeGuestDirectory } from "../../support/guestDirectory";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();

describe("readStarter", () => {
  it("finds a complete guest", async () => {
    await makeGuestDirectory(folder.path);
    const starter = await readStarter(folder.path);
    expect(starter.info).toEqual({ ready: true, build: "abc123", kernelVersion: "6.1.0" });
    expect(requireStarter(starter)).toMatchObject({ kernel: join(folder.path, "kernel-fast.bin"), initrd: join(folder.path, "initrd.cpio"), initrdBytes: 1024 * 1024, cmdline: "quiet", bios: join(folder.path, "bios.bin") });
  });

  it("says what to do when there is none", async () => {
    const starter = await readStarter(join(folder.path, "missing"));
    expect(starter.info).toMatchObject({ ready: false, problem: { code: "unavailable", message: expect.stringContaining("not been built") as string, remedy: expect.stringContaining("npm start") as string } });
    expect(() => requireStarter(starter)).toThrow(expect.objectContaining({ code: "unavailable" }));
  });

  it.each<[string, () => Promise<void>, string]>([
    ["the manifest is no JSON", () => writeFile(join(folder.path, "guest.json"), "{"), "guest.json"],
    ["the manifest is another one", () => writeFile(join(folder.path, "guest.json"), "{}"), "guest.json"],
    ["a file is missing", () => rm(join(folder.path, "initrd.cpio")), "initrd.cpio is missing"],
    ["a file was cut short", () => truncate(join(folder.path, "kernel-fast.bin"), 7), "7 bytes instead of 100"],
  ])("says what is damaged when %s", async (_, damage, message) => {
    await makeGuestDirectory(folder.path);
    await damage();
    expect((await readStarter(folder.path)).info).toMatchObject({ ready: false, problem: { message: expect.stringContaining(message) as string } });
  });
});
