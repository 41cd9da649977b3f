import { chmod, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DoctorCheck } from "../../../core/contract/model";
import { v86Info } from "../../../core/engine/v86Argv";
import { runDoctor, type DoctorContext } from "../../../core/machine/doctor";
import { diskSpace, parseAvailable, readHostFacts } from "../../../core/machine/hostFacts";
import { readStarter } from "../../../core/machine/starter";
import { makeGuestDirectory } from "../../support/guestDirectory";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();

async function contextOf(patch: Partial<DoctorContext> = {}): Promise<DoctorContext> {
  const runDir = join(folder.path, "run");
  await mkdir(runDir, { mode: 0o700, recursive: true });
  await mkdir(join(folder.path, "home"), { recursive: true });
  await makeGuestDirectory(join(folder.path, "guest"));
  return {
    home: join(folder.path, "home"),
    runDir,
    facts: { platform: "linux", cpus: 2, memoryTotalMiB: 8000, memoryAvailableMiB: 4000, diskFreeBytes: 2 ** 34, diskTotalBytes: 2 ** 36 },
    engines: [v86Info],
    qemu: [{ id: "qemu", title: "QEMU", status: "warning", detail: "QEMU is not installed.", remedy: "Install it." }],
    starter: await readStarter(join(folder.path, "guest")),
    fabric: { id: "fabric", title: "Network fabric", status: "ok", detail: "It does not run." },
    machines: [],
    networkModes: [{ mode: "none", available: true }, { mode: "nat", available: true }, { mode: "bridged", available: false, reason: "It takes rights that you do not have." }],
    ...patch,
  };
}

async function statusOf(context: DoctorContext): Promise<Record<string, DoctorCheck>> {
  const checks = DoctorCheck.array().parse(await runDoctor(context));
  for (const check of checks) if (check.status !== "ok") expect(check.remedy, check.id).toBeTruthy();
  return Object.fromEntries(checks.map((check) => [check.id, check]));
}

describe("runDoctor", () => {
  it("finds a healthy host healthy, and leaves nothing behind", async () => {
    const context = await contextOf();
    const checks = await statusOf(context);
    expect(Object.entries(checks).filter(([, check]) => check.status !== "ok").map(([id]) => id)).toEqual(["qemu"]);
    expect(await readdir(context.home)).toEqual([]);
  });

  it("tells everything that is wrong, with a remedy", async () => {
    const context = await contextOf();
    await chmod(context.runDir, 0o755);
    const checks = await statusOf({
      ...context,
      home: join(folder.path, "missing"),
      facts: { ...context.facts, memoryAvailableMiB: 100, diskFreeBytes: 1000 },
      starter: await readStarter(join(folder.path, "nowhere")),
      machines: [{ id: "x", folder: "/x", folderName: "x", name: "web", problem: { code: "broken", message: "It is empty.", remedy: "Mend it." } }],
    });
    expect(checks).toMatchObject({ home: { status: "error" }, disk: { status: "error" }, "run-directory": { status: "error" }, memory: { status: "warning" }, starter: { status: "warning" }, machines: { status: "error", detail: "web: It is empty.", remedy: "Mend it." } });
  });
});

describe("the check of the networks", () => {
  const later = { available: false, reason: "It comes with a later version." };
  const networksOf = async (networkModes: DoctorContext["networkModes"]) => (await statusOf(await contextOf({ networkModes }))).networks;

  it("is no success where no network can be used: an unplugged cable is none", async () => {
    const networks = await networksOf([{ mode: "none", available: true }, { mode: "nat", ...later }, { mode: "internal", ...later }]);
    expect(networks).toMatchObject({ status: "warning", detail: "No network can be used. Not available: nat, internal. It comes with a later version." });
  });

  it("names what can be used, and why the rest cannot", async () => {
    const networks = await networksOf([{ mode: "none", available: true }, { mode: "nat", available: true }, { mode: "bridged", ...later }]);
    expect(networks).toMatchObject({ status: "ok", detail: "Available: nat. Not available: bridged. It comes with a later version." });
  });
});

describe("readHostFacts", () => {
  it("measures this host", async () => {
    const facts = await readHostFacts(join(folder.path, "not", "there", "yet"));
    expect(facts.cpus).toBeGreaterThan(0);
    expect(facts.memoryAvailableMiB).toBeGreaterThan(0);
    expect(facts.memoryTotalMiB).toBeGreaterThanOrEqual(facts.memoryAvailableMiB);
    expect(facts.diskTotalBytes).toBeGreaterThanOrEqual(facts.diskFreeBytes);
    expect((await diskSpace("/")).diskTotalBytes).toBeGreaterThan(0);
  });

  it("reads what the kernel says is available", () => {
    expect(parseAvailable("MemTotal:       100 kB\nMemAvailable:    2048 kB\n")).toBe(2 * 1024 * 1024);
    expect(parseAvailable("MemTotal: 100 kB\n")).toBeUndefined();
  });
});
