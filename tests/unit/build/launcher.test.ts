import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkNode, whyInstall } from "../../../build/launcher/dependencies.mjs";
import { checkDisplay, checkSandbox, checkScreenAnswers, chromiumArguments } from "../../../build/launcher/display.mjs";
import { failedLately, shortReason } from "../../../build/launcher/electronRuntime.mjs";
import { linkTree, verifyIntegrity } from "../../../build/launcher/fallbackElectron.mjs";
import { SetupError } from "../../../build/launcher/progress.mjs";
import { whileHolding } from "../../../build/launcher/setupLock.mjs";
import { availablePackages, missingLibraries, missingPrograms } from "../../../build/launcher/systemPackages.mjs";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "terrarium-launcher-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function remedyOf(act: () => void): string {
  try {
    act();
  } catch (error) {
    if (error instanceof SetupError) return error.remedy;
    throw error;
  }
  return "";
}

describe("the Node check", () => {
  it("refuses a Node older than 20.19 and says what to do", () => {
    expect(() => checkNode("20.18.9")).toThrow(/20\.19 or later; this is Node 20\.18\.9/);
    expect(() => checkNode("18.15.0")).toThrow(SetupError);
    expect(remedyOf(() => checkNode("18.15.0"))).toContain("Install a current Node");
  });

  it("takes 20.19 and everything after it", () => {
    checkNode("20.19.0");
    checkNode("22.0.0");
  });
});

describe("the dependency check", () => {
  const wanted = {
    packages: {
      "": { version: "0.1.0" },
      "node_modules/a": { version: "1.0.0", integrity: "x" },
      "node_modules/other-platform": { version: "1.0.0", integrity: "y", optional: true },
    },
  };

  it("is content with what npm installed, without the packages of other platforms", () => {
    expect(whyInstall(wanted, { packages: { "node_modules/a": { version: "1.0.0", integrity: "x" } } })).toBeUndefined();
  });

  it("sees missing, changed and surplus packages", () => {
    expect(whyInstall(wanted, undefined)).toBe("not installed yet");
    expect(whyInstall(wanted, { packages: {} })).toBe("a is missing");
    expect(whyInstall(wanted, { packages: { "node_modules/a": { version: "1.0.1", integrity: "x" } } })).toBe("a has changed");
    expect(whyInstall(wanted, { packages: { "node_modules/a": { version: "1.0.0", integrity: "z" } } })).toBe("a has changed");
    const surplus = { "node_modules/a": { version: "1.0.0", integrity: "x" }, "node_modules/b": { version: "1.0.0" } };
    expect(whyInstall(wanted, { packages: surplus })).toBe("b is no longer wanted");
  });
});

describe("the display check", () => {
  it("asks for a display on Linux only", () => {
    expect(() => checkDisplay({}, "linux")).toThrow(/no display/);
    expect(remedyOf(() => checkDisplay({}, "linux"))).toContain("xvfb-run");
    checkDisplay({}, "darwin");
  });

  it("takes X or Wayland", () => {
    checkDisplay({ DISPLAY: ":0" }, "linux");
    checkDisplay({ WAYLAND_DISPLAY: "wayland-0" }, "linux");
  });
});

describe("the screen check", () => {
  it("refuses a screen of this computer that nobody serves", async () => {
    await expect(checkScreenAnswers({ DISPLAY: ":64999" }, "linux")).rejects.toThrow(/no X server answers/);
  });

  it("leaves other computers, Wayland and other systems alone", async () => {
    await checkScreenAnswers({ DISPLAY: "elsewhere:0" }, "linux");
    await checkScreenAnswers({ DISPLAY: ":64999", WAYLAND_DISPLAY: "wayland-0" }, "linux");
    await checkScreenAnswers({ DISPLAY: ":64999" }, "darwin");
  });
});

describe("Chromium's arguments", () => {
  const user = { platform: "linux", root: false, environment: { DISPLAY: ":0" }, given: [] as string[] };

  it("are none for an ordinary user under X", () => {
    expect(chromiumArguments(user)).toEqual([]);
  });

  it("switch the sandbox off for root and say why, unless it is off already", () => {
    expect(chromiumArguments({ ...user, root: true })).toEqual([
      { argument: "--no-sandbox", reason: expect.stringContaining("root") },
    ]);
    expect(chromiumArguments({ ...user, root: true, given: ["--no-sandbox"] })).toEqual([]);
  });

  it("choose Wayland where there is nothing else", () => {
    const given = chromiumArguments({ ...user, environment: { WAYLAND_DISPLAY: "wayland-0" } });
    expect(given.map((entry) => entry.argument)).toEqual(["--ozone-platform=wayland"]);
  });
});

describe("the sandbox check", () => {
  const system = (settings: Record<string, string>) => ({
    platform: "linux" as const,
    root: false,
    read: (file: string) => settings[file],
    helperWorks: () => false,
  });
  const ubuntu = system({
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
    "/proc/sys/user/max_user_namespaces": "31000\n",
  });

  it("recognises AppArmor's restriction of Ubuntu and gives the exact commands", () => {
    expect(() => checkSandbox("/opt/electron/electron", [], ubuntu)).toThrow(/AppArmor/);
    const remedy = remedyOf(() => checkSandbox("/opt/electron/electron", [], ubuntu));
    expect(remedy).toContain("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    expect(remedy).toContain("sudo chmod 4755 '/opt/electron/chrome-sandbox'");
  });

  it("recognises a kernel that forbids or has no user namespaces", () => {
    const debian = system({ "/proc/sys/kernel/unprivileged_userns_clone": "0\n" });
    expect(remedyOf(() => checkSandbox("/e/electron", [], debian))).toContain("kernel.unprivileged_userns_clone=1");
    const none = system({ "/proc/sys/user/max_user_namespaces": "0\n" });
    expect(remedyOf(() => checkSandbox("/e/electron", [], none))).toContain("user.max_user_namespaces=10000");
  });

  it("lets pass what can work", () => {
    checkSandbox("/e/electron", [], system({ "/proc/sys/user/max_user_namespaces": "31000\n" }));
    checkSandbox("/e/electron", ["--no-sandbox"], ubuntu);
    checkSandbox("/e/electron", [], { ...ubuntu, helperWorks: () => true });
    checkSandbox("/e/electron", [], { ...ubuntu, root: true });
    checkSandbox("/e/electron", [], { ...ubuntu, platform: "darwin" });
  });
});

describe("a failed download", () => {
  const at = "2026-01-01T00:00:00.000Z";
  const hours = (count: number) => Date.parse(at) + count * 3600_000;

  it("is remembered for a day and for its version", () => {
    expect(failedLately({ version: "45.0.0", at }, "45.0.0", hours(23))).toBe(true);
    expect(failedLately({ version: "45.0.0", at }, "45.0.0", hours(25))).toBe(false);
    expect(failedLately({ version: "45.0.0", at }, "45.0.1", hours(1))).toBe(false);
    expect(failedLately(undefined, "45.0.0", hours(0))).toBe(false);
  });

  it("is not believed when it lies in the future or has no date", () => {
    expect(failedLately({ version: "45.0.0", at }, "45.0.0", hours(-1))).toBe(false);
    expect(failedLately({ version: "45.0.0" }, "45.0.0", hours(0))).toBe(false);
  });

  it("is told in a few words", () => {
    expect(shortReason("TypeError: fetch failed\n    at node:internal\n")).toBe("fetch failed");
    expect(shortReason("")).toBe("no reason given");
  });
});

describe("the integrity check", () => {
  const bytes = Buffer.from("runtime");
  const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;

  it("passes the very bytes and refuses any other", () => {
    verifyIntegrity(bytes, integrity, "it");
    expect(() => verifyIntegrity(Buffer.from("runtimf"), integrity, "it")).toThrow(/not the file it should be/);
  });
});

describe("linking a tree", () => {
  it("gives the same files without copying them", () => {
    mkdirSync(join(folder, "from", "locales"), { recursive: true });
    writeFileSync(join(folder, "from", "electron"), "binary", { mode: 0o755 });
    writeFileSync(join(folder, "from", "locales", "de.pak"), "text");
    linkTree(join(folder, "from"), join(folder, "to"));
    expect(readdirSync(join(folder, "to"), { recursive: true }).sort()).toEqual(["electron", "locales", "locales/de.pak"]);
    expect(statSync(join(folder, "to", "electron")).ino).toBe(statSync(join(folder, "from", "electron")).ino);
    expect(readFileSync(join(folder, "to", "locales", "de.pak"), "utf8")).toBe("text");
  });
});

describe("the set-up lock", () => {
  const quiet = { say: () => undefined };

  it("lets one at a time work and frees itself after a failure", async () => {
    const lock = join(folder, "lock");
    const order: string[] = [];
    const first = whileHolding(lock, quiet, async () => {
      order.push("first in");
      await new Promise((done) => setImmediate(done));
      order.push("first out");
      throw new Error("broken");
    });
    const second = whileHolding(lock, quiet, async () => {
      order.push("second in");
    });
    await expect(first).rejects.toThrow("broken");
    await second;
    expect(order).toEqual(["first in", "first out", "second in"]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("takes over the lock of a process that is gone", async () => {
    const lock = join(folder, "lock");
    // No process has this number: it is beyond what Linux and macOS hand out.
    writeFileSync(lock, "99999999");
    expect(await whileHolding(lock, quiet, async () => "done")).toBe("done");
  });
});

describe("system packages", () => {
  it("reads the missing libraries from ldd", () => {
    const output = "\tlibnss3.so => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\tlibgtk-3.so.0 => not found\n";
    expect(missingLibraries(output)).toEqual(["libnss3.so", "libgtk-3.so.0"]);
  });

  it("misses a program that is not on the path, and a file that is in none of its places", () => {
    const shell = { program: "sh", names: ["dash"], reason: "a shell" };
    const gone = { program: "no-such-program", names: ["none"], reason: "nothing" };
    const here = { files: ["/nothing/there", import.meta.filename], names: ["here"], reason: "this test" };
    const nowhere = { files: ["/nothing/there", "/nothing/else"], names: ["nowhere"], reason: "nothing" };
    expect(missingPrograms([shell, gone, here, nowhere])).toEqual([gone, nowhere]);
  });

  it("knows which of several names apt can install", () => {
    const output = [
      "libasound2t64:",
      "  Installed: (none)",
      "  Candidate: 1.2.11-1",
      "libasound2:",
      "  Installed: (none)",
      "  Candidate: (none)",
    ].join("\n");
    expect([...availablePackages(output)]).toEqual(["libasound2t64"]);
  });
});
