import { homedir } from "node:os";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { openHome, resolveHome } from "../../../core/machine/home";
import { readLock } from "../../../core/machine/lock";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const open = (home: string): ReturnType<typeof openHome> => openHome(home, { servedBy: "headless", env: { XDG_RUNTIME_DIR: folder.path } });

describe("resolveHome", () => {
  it("follows TERRARIUM_HOME, then the data directory, then the user's home", () => {
    expect(resolveHome({ TERRARIUM_HOME: "/a/b" })).toBe("/a/b");
    expect(resolveHome({ TERRARIUM_HOME: "b" })).toBe(resolve("b"));
    expect(resolveHome({ XDG_DATA_HOME: "/data" })).toBe("/data/terrarium");
    expect(resolveHome({ XDG_DATA_HOME: "relative" })).toBe(join(homedir(), ".local", "share", "terrarium"));
    expect(resolveHome({ TERRARIUM_HOME: "" })).toBe(join(homedir(), ".local", "share", "terrarium"));
  });
});

describe("openHome", () => {
  it("makes what is missing and holds the lock until it is released", async () => {
    const home = await open(join(folder.path, "new", "home"));
    expect((await readdir(home.path)).sort()).toEqual(["kept-disks", "lock", "logs", "machines", "states", "trash"]);
    expect((await readLock(home.path))?.runDir).toBe(home.runDir);
    await home.release();
    expect(await readLock(home.path)).toBeUndefined();
  });

  it("is one home, by whatever path it is reached", async () => {
    await mkdir(join(folder.path, "real"));
    await symlink(join(folder.path, "real"), join(folder.path, "link"));
    const home = await open(join(folder.path, "link"));
    expect(home.path).toBe(join(folder.path, "real"));
    await expect(open(join(folder.path, "real"))).rejects.toMatchObject({ code: "locked" });
    await home.release();
  });

  it("says so when a file is in its place", async () => {
    await writeFile(join(folder.path, "home"), "");
    await expect(open(join(folder.path, "home"))).rejects.toMatchObject({ code: "unavailable", remedy: expect.stringContaining("TERRARIUM_HOME") as string });
    await expect(open(join(folder.path, "home", "deeper"))).rejects.toMatchObject({ message: expect.stringContaining("home") as string, remedy: expect.any(String) as string });
  });

  it("says so at once where nothing can be made", async () => {
    for (const home of ["/proc/nohome", "/proc/nohome/deeper"]) {
      await expect(open(home)).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining(home) as string, remedy: expect.stringContaining("TERRARIUM_HOME") as string });
    }
  });

  it("says in its lock whether it would end by itself", async () => {
    const home = await openHome(join(folder.path, "home"), { servedBy: "headless", endsWhenIdle: true, env: { XDG_RUNTIME_DIR: folder.path } });
    expect((await readLock(home.path))?.endsWhenIdle).toBe(true);
    await home.release();
  });

  it("gives the lock back when a folder of it cannot be made", async () => {
    await mkdir(join(folder.path, "home"));
    await writeFile(join(folder.path, "home", "machines"), "");
    await expect(open(join(folder.path, "home"))).rejects.toMatchObject({ message: expect.stringContaining("machines") as string });
    expect(await readLock(join(folder.path, "home"))).toBeUndefined();
  });
});
