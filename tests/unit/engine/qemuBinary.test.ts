import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { beside, findBinary, places } from "../../../core/engine/qemuBinary";
import { installation } from "../../../core/engine/qemuPackages";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const install = installation("linux", "ID=debian");

describe("the place of QEMU", () => {
  const folder = useTemporaryFolder();
  async function program(name: string, mode = 0o755): Promise<string> {
    const path = join(folder.path, name);
    await writeFile(path, "#!/bin/sh\n");
    await chmod(path, mode);
    return path;
  }

  it("is on the path, and where the platform's installers put it", () => {
    expect(places("qemu-img", { PATH: "/a:relative::/b" }, "linux")).toEqual(["/a/qemu-img", "/b/qemu-img"]);
    expect(places("qemu-img", { PATH: "/a" }, "darwin")).toEqual(["/a/qemu-img", "/opt/homebrew/bin/qemu-img", "/usr/local/bin/qemu-img", "/opt/local/bin/qemu-img"]);
    expect(places("qemu-img", { Path: "C:\\a;D:\\b" }, "win32")).toEqual(["C:\\a\\qemu-img.exe", "D:\\b\\qemu-img.exe", "C:\\Program Files\\qemu\\qemu-img.exe"]);
    expect(beside("C:\\q\\qemu-system-x86_64.exe", "qemu-img", "win32")).toBe("C:\\q\\qemu-img.exe");
  });

  it("is the first on the path that can be executed", async () => {
    const path = await program("qemu-system-x86_64");
    expect(await findBinary({ PATH: `/nothing/there:${folder.path}` }, "linux", install)).toBe(path);
    await chmod(path, 0o644);
    expect(await findBinary({ PATH: folder.path }, "linux", install)).toMatchObject({ code: "unavailable", message: expect.stringContaining("not installed") as string, remedy: "Run: sudo apt install qemu-system-x86 qemu-utils ovmf" });
  });

  it("is what TERRARIUM_QEMU names, which is not silently replaced by another", async () => {
    const own = await program("my-qemu");
    expect(await findBinary({ PATH: "", TERRARIUM_QEMU: own }, "linux", install)).toBe(own);
    await program("qemu-system-x86_64");
    expect(await findBinary({ PATH: folder.path, TERRARIUM_QEMU: `${own}-gone` }, "linux", install)).toMatchObject({ code: "unavailable", message: expect.stringContaining(`${own}-gone`) as string, remedy: expect.stringContaining("TERRARIUM_QEMU") as string });
    expect(await findBinary({ PATH: folder.path, TERRARIUM_QEMU: "my-qemu" }, "linux", install)).toMatchObject({ code: "invalid-input", remedy: expect.stringContaining("TERRARIUM_QEMU") as string });
    expect(await findBinary({ PATH: folder.path, TERRARIUM_QEMU: folder.path }, "linux", install)).toMatchObject({ code: "unavailable" });
  });
});
