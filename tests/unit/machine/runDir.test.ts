import { createHash } from "node:crypto";
import { chmod, mkdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { hostSocketPath, machineRunDir, maxSocketPath, openRunDir } from "../../../core/machine/runDir";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
afterEach(() => void vi.restoreAllMocks());

const environment = (): NodeJS.ProcessEnv => ({ XDG_RUNTIME_DIR: folder.path });

describe("the run directory", () => {
  it("is private, lies in the user's runtime directory, and is the same every time", async () => {
    const path = await openRunDir("/home/someone/terrarium", environment());
    expect(path.startsWith(join(folder.path, "terrarium-"))).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect(await openRunDir("/home/someone/terrarium", environment())).toBe(path);
    expect(await openRunDir("/home/someone/else", environment())).not.toBe(path);
  });

  it("has room for the longest socket", async () => {
    const path = await openRunDir("/home", environment());
    expect(hostSocketPath(path).length).toBeLessThanOrEqual(maxSocketPath);
    expect(join(machineRunDir(path, "0123abcd-1111-4111-8111-111111111111"), "serial0.sock").length).toBeLessThanOrEqual(maxSocketPath);
    expect(machineRunDir(path, "0123abcd-1111-4111-8111-111111111111")).toBe(join(path, "m", "0123abcd"));
  });

  it("goes to the temporary folder when there is no usable runtime directory", async () => {
    const expected = join(folder.path, `terrarium-${process.getuid?.()}-`);
    for (const runtime of [undefined, "relative", join(folder.path, "missing")]) {
      const path = await openRunDir("/home", { XDG_RUNTIME_DIR: runtime, TMPDIR: folder.path });
      expect(path.startsWith(expected)).toBe(true);
    }
  });

  it("takes a shorter place when the path of a socket would be too long", async () => {
    const long = join(folder.path, "x".repeat(70));
    await mkdir(long);
    const path = await openRunDir("/home", { XDG_RUNTIME_DIR: long, TMPDIR: folder.path });
    expect(path.startsWith(join(folder.path, "terrarium-"))).toBe(true);
  });

  it("is not a symbolic link, whoever made it", async () => {
    const path = await openRunDir("/home", environment());
    await rm(path, { recursive: true });
    await mkdir(join(folder.path, "target"), { mode: 0o700 });
    await symlink(join(folder.path, "target"), path);
    await expect(openRunDir("/home", environment())).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("symbolic link") as string, remedy: expect.stringContaining(path) as string });
  });

  it("is not used when it belongs to someone else", async () => {
    // Seen from another user, the folder made here is foreign.
    const other = (process.getuid?.() ?? 0) + 1;
    vi.spyOn(process as { getuid: () => number }, "getuid").mockReturnValue(other);
    const path = join(folder.path, `terrarium-${other}-${createHash("sha256").update("/home").digest("hex").slice(0, 12)}`);
    await mkdir(path, { mode: 0o700 });
    await expect(openRunDir("/home", { XDG_RUNTIME_DIR: folder.path, TMPDIR: folder.path })).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("belongs to another user") as string, remedy: expect.stringContaining("XDG_RUNTIME_DIR") as string });
  });

  it("is not used when something else is there, or others can write to it", async () => {
    const path = await openRunDir("/home", environment());
    await chmod(path, 0o777);
    await expect(openRunDir("/home", environment())).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("other users") as string });
    await rm(path, { recursive: true });
    await writeFile(path, "");
    await expect(openRunDir("/home", environment())).rejects.toMatchObject({ code: "unavailable", remedy: expect.stringContaining("Remove") as string });
  });

  it("is made private again when others could only read it", async () => {
    const path = await openRunDir("/home", environment());
    await chmod(path, 0o755);
    await openRunDir("/home", environment());
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  });
});
