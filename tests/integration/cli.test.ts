import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { JobInfo, MachineInfo, TrashEntry } from "../../core/contract/model";
import { waitUntil } from "../../core/cli/connect";
import { connectHost, type HostConnection } from "../../core/server/client";
import { CommandLine } from "../support/commandLine";

const longestMs = 100_000;

async function opened(): Promise<CommandLine> {
  const terrarium = await CommandLine.open();
  onTestFinished(() => terrarium.close());
  return terrarium;
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  expect(await waitUntil(condition, longestMs)).toBe(true);
}

describe("the host service behind the command line", () => {
  it("is started by the first command that needs it, once, also when several come at the same time", async () => {
    const terrarium = await opened();
    expect(await terrarium.text("serve", "--stop")).toContain("No host service is running");
    const outcomes = await Promise.all([1, 2, 3, 4].map(() => terrarium.run(["list", "--json"])));
    expect(outcomes.map(({ code, stdout, stderr }) => [code, stdout.trim(), stderr])).toEqual(Array(4).fill([0, "[]", ""]));
    const first = await terrarium.servicePid();
    await terrarium.text("list");
    expect(await terrarium.servicePid()).toBe(first);
    expect((await terrarium.serviceLog()).match(/Serving/g)).toHaveLength(1);
    expect(await terrarium.text("serve", "--stop")).toContain("has ended");
    expect(await terrarium.servicePid()).toBeUndefined();
    expect(existsSync(join(terrarium.home, "lock"))).toBe(false);
  });

  it("that was started by hand ends on a signal, and refuses to be two", async () => {
    const terrarium = await opened();
    const service = terrarium.spawn("serve");
    await eventually(async () => (await connected(terrarium)) !== undefined);
    const second = await terrarium.run(["serve"]);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain("already in use");
    const ended = once(service, "exit");
    service.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(await terrarium.servicePid()).toBeUndefined();
  });

  it("that was started for a command gives way to one that is started by hand", async () => {
    const terrarium = await opened();
    await terrarium.text("create", "kept");
    const temporary = (await terrarium.servicePid())!;
    const service = terrarium.spawn("serve");
    const log = textOf(service.stderr!);
    await eventually(() => Promise.resolve(log().includes("Serving")));
    expect(log()).toMatch(new RegExp(`Taking over from .*process ${temporary}`));
    expect(await terrarium.servicePid()).toBe(service.pid);
    expect(await terrarium.text("list")).toContain("kept");
    // One that is started for a command stands back for it.
    expect((await terrarium.run(["serve", "--idle", "1"])).stderr).toContain("already in use");
    expect(await terrarium.servicePid()).toBe(service.pid);
  });

  it("ends by itself when it has had nothing to do, and not while somebody is there", async () => {
    const terrarium = await opened();
    const service = terrarium.spawn("serve", "--idle", "1");
    const ended = once(service, "exit");
    let client: HostConnection | undefined;
    await eventually(async () => (client = await connected(terrarium)) !== undefined);
    const log = textOf(service.stderr!);
    expect(service.exitCode).toBeNull();
    await terrarium.text("list");
    client?.close();
    expect(await ended).toEqual([0, null]);
    expect(log()).toContain("nothing was left to do");
  });

  it("that was killed leaves a stale lock, which the next command sees through", async () => {
    const terrarium = await opened();
    await terrarium.text("create", "kept");
    const before = (await terrarium.servicePid())!;
    process.kill(before, "SIGKILL");
    await eventually(async () => (await terrarium.servicePid()) === undefined);
    expect(await terrarium.text("list")).toContain("kept");
    expect(await terrarium.servicePid()).not.toBe(before);
  });

  it("that cannot start says why, and what to do", async () => {
    const terrarium = await opened();
    const file = join(terrarium.home, "..", "file");
    writeFileSync(file, "");
    const outcome = await terrarium.run(["list"], "", { TERRARIUM_HOME: file });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/^terrarium: .*file.*\n {2}\S/);
  });
});

describe("a home that cannot be", () => {
  it.each([["list"], ["serve"]])("is named at once by %s, with what to do", async (verb) => {
    const terrarium = await opened();
    const outcome = await terrarium.run([verb], "", { TERRARIUM_HOME: "/proc/nohome" });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/^terrarium: The home \/proc\/nohome could not be made.*\n {2}Set TERRARIUM_HOME/m);
  });
});

describe("machines from the command line", () => {
  let terrarium: CommandLine;
  beforeAll(async () => {
    terrarium = await CommandLine.open();
  });
  afterAll(() => terrarium.close());

  it("are created, listed, shown, changed, deleted and brought back", async () => {
    expect(await terrarium.text("create", "web 東京", "--memory", "128M", "--disk", "64M", "--group", "lab")).toContain("Created web 東京");
    const machine = await terrarium.machine("web 東京");
    expect(machine).toMatchObject({ name: "web 東京", state: "off", config: { memoryMiB: 128, group: "lab", disks: [{ sizeBytes: 64 << 20 }] } });
    expect(await terrarium.text("list")).toMatch(new RegExp(`web 東京 +off +v86 +128 MB +${machine.id.slice(0, 8)}`));
    expect((await terrarium.machine(machine.id.slice(0, 6))).id).toBe(machine.id);
    await terrarium.text("set", "web 東京", "name=db", "memory=160M", "--add-disk", "32M");
    expect((await terrarium.machine("db")).config).toMatchObject({ name: "db", memoryMiB: 160, disks: [{ id: "disk0" }, { id: "disk1" }] });
    const entry = await terrarium.data<TrashEntry>("delete", "db");
    expect(await terrarium.data<MachineInfo[]>("list")).toEqual([]);
    expect(await terrarium.text("trash", "list")).toContain("db");
    await terrarium.text("trash", "restore", entry.id);
    expect((await terrarium.machine("db")).id).toBe(machine.id);
    await terrarium.text("delete", "db");
    const unasked = await terrarium.run(["trash", "empty"]);
    expect(unasked).toMatchObject({ code: 2, stderr: expect.stringMatching(/db.*delete for good.*--yes/s) as string });
    expect(await terrarium.text("trash", "list")).toContain("db");
    await terrarium.text("trash", "empty", "--yes");
    expect(await terrarium.text("trash", "list")).toContain("empty");
    expect((await terrarium.run(["trash", "restore", entry.id])).code).toBe(1);
  });

  it.each([
    [["show", "nobody"], 1, /no machine "nobody"/],
    [["create", "big", "--memory", "4000G"], 1, /memory/i],
    [["create", "iso", "--iso", "/nowhere.iso"], 1, /nowhere\.iso/],
    [["create", "   "], 1, /name/],
    [["create", "x", "--memory", "many"], 2, /--memory/],
    [["start"], 2, /Usage: terrarium start NAME/],
    [["fly", "web"], 2, /"fly" is no command/],
  ] as const)("refuse %j with exit code %i", async (args, code, message) => {
    const outcome = await terrarium.run(args);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.stdout).toBe("");
    expect(await terrarium.data<MachineInfo[]>("list")).toEqual([]);
  });

  it("tell failures as data with --json", async () => {
    const outcome = await terrarium.run(["show", "nobody", "--json"]);
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
    expect(JSON.parse(outcome.stderr)).toMatchObject({ error: { code: "not-found", remedy: expect.any(String) as string } });
  });

  it("refuse a name that is taken, and commands their state forbids", async () => {
    await terrarium.text("create", "once");
    const twice = await terrarium.run(["create", "once", "--json"]);
    expect(JSON.parse(twice.stderr)).toMatchObject({ error: { code: expect.stringMatching(/name-taken|invalid-input/) as string } });
    const pause = await terrarium.run(["pause", "once", "--json"]);
    expect(JSON.parse(pause.stderr)).toMatchObject({ error: { code: "illegal-state" } });
    await terrarium.text("delete", "once");
  });

  it("show what the host lacks", async () => {
    const outcome = await terrarium.run(["doctor", "--json"]);
    const checks = JSON.parse(outcome.stdout) as { status: string; title: string }[];
    expect(checks.length).toBeGreaterThan(2);
    expect(outcome.code).toBe(checks.some((check) => check.status === "error") ? 1 : 0);
  });
});

describe("a guest from the command line", () => {
  let terrarium: CommandLine;
  beforeAll(async () => {
    terrarium = await CommandLine.open();
    await terrarium.text("create", "guest", "--disk", "64M");
    await terrarium.text("start", "guest", "--wait", "--timeout", "280");
  }, 300_000);
  afterAll(() => terrarium.close());

  it("runs commands and passes their output, input and failure on", async () => {
    expect(await terrarium.run(["exec", "guest", "--", "echo", "--json", "a  b"])).toEqual({ code: 0, stdout: "--json a  b\n", stderr: "" });
    expect(await terrarium.run(["exec", "guest", "--stdin", "--", "sort"], "b\na\n")).toEqual({ code: 0, stdout: "a\nb\n", stderr: "" });
    const failed = await terrarium.run(["exec", "guest", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    expect(failed).toEqual({ code: 7, stdout: "out\n", stderr: "err\n" });
    const failedData = await terrarium.run(["exec", "--json", "guest", "--", "sh", "-c", "exit 7"]);
    expect(failedData.code).toBe(7);
    expect(JSON.parse(failedData.stdout)).toMatchObject({ exitCode: 7 });
    expect(await terrarium.run(["exec", "guest", "--", "sh", "-c", "kill -9 $$"])).toEqual({ code: 137, stdout: "", stderr: "The command was ended by signal 9.\n" });
    expect(await terrarium.data("exec", "guest", "--", "sh", "-c", "printf x")).toMatchObject({ exitCode: 0, stdout: "x" });
  });

  it("talks over its serial port, also to two at once", async () => {
    const other = terrarium.spawn("serial", "guest", "--linger", "60");
    const heard = textOf(other.stdout!);
    const answer = await terrarium.run(["serial", "guest", "--linger", "5"], "\necho $((6*7))-from-serial\n");
    expect(answer).toMatchObject({ code: 0, stdout: expect.stringContaining("42-from-serial") as string });
    await eventually(() => Promise.resolve(heard().includes("42-from-serial")));
  });

  it("shows its screen, and takes text and keys", async () => {
    const file = join(terrarium.home, "screen.png");
    await terrarium.text("screenshot", "guest", file);
    const before = readFileSync(file);
    expect(before.subarray(1, 4).toString()).toBe("PNG");
    await terrarium.text("type", "guest", "--enter", "echo typed > /data/typed");
    await eventually(async () => (await terrarium.run(["exec", "guest", "--", "cat", "/data/typed"])).stdout === "typed\n");
    await terrarium.text("keys", "guest", "ctrl+l", "a", "ret");
    expect((await terrarium.run(["screenshot", "guest", "-"])).code).toBe(0);
    expect((await terrarium.run(["keys", "guest", "ctrl+nokey"])).code).toBe(1);
  });

  it("is paused and goes on", async () => {
    expect((await terrarium.data<MachineInfo>("pause", "guest")).state).toBe("paused");
    expect((await terrarium.run(["exec", "guest", "--", "true", "--json"])).code).toBe(1);
    expect((await terrarium.data<MachineInfo>("resume", "guest")).state).toBe("running");
    expect((await terrarium.run(["exec", "guest", "--", "true"])).code).toBe(0);
  });

  it("goes on when the host service is stopped or killed", async () => {
    await terrarium.text("exec", "guest", "--", "sh", "-c", "echo still there > /tmp/mark");
    // A new service has to find the agent again before it can ask it anything.
    const stillThere = async (): Promise<boolean> => (await terrarium.run(["exec", "guest", "--", "cat", "/tmp/mark"])).stdout === "still there\n";
    await terrarium.text("serve", "--stop");
    await eventually(stillThere);
    process.kill((await terrarium.servicePid())!, "SIGKILL");
    await eventually(async () => (await terrarium.servicePid()) === undefined);
    expect((await terrarium.machine("guest")).state).toBe("running");
    await eventually(stillThere);
  });

  it("is saved and comes back where it was", async () => {
    await terrarium.text("exec", "guest", "--", "sh", "-c", "echo here > /tmp/place");
    expect((await terrarium.data<MachineInfo>("save", "guest")).state).toBe("saved");
    await terrarium.text("start", "guest", "--wait", "--timeout", "90");
    expect(await terrarium.text("exec", "guest", "--", "cat", "/tmp/place")).toBe("here\n");
    expect((await terrarium.data<JobInfo[]>("jobs")).map(({ kind, state }) => [kind, state])).toContainEqual(["save", "done"]);
    expect(await terrarium.text("log", "guest")).toContain("sav");
  });

  it("loses its saved state when it is discarded, and not before that is agreed to", async () => {
    await terrarium.text("save", "guest");
    const unasked = await terrarium.run(["discard", "guest"]);
    expect(unasked).toMatchObject({ code: 2, stderr: expect.stringMatching(/lost.*--yes/s) as string });
    expect((await terrarium.machine("guest")).state).toBe("saved");
    expect(await terrarium.text("discard", "guest", "--yes")).toBe("guest is off.\n");
    expect((await terrarium.run(["discard", "guest", "--yes"])).code).toBe(1);
    await terrarium.text("start", "guest", "--wait", "--timeout", "280");
  }, 300_000);

  it("shuts down when asked, and loses its power when not", async () => {
    expect((await terrarium.data<MachineInfo>("shutdown", "guest")).state).toBe("off");
    await terrarium.text("start", "guest");
    expect((await terrarium.data<MachineInfo>("poweroff", "guest")).state).toBe("off");
  });
});

async function connected(terrarium: CommandLine): Promise<HostConnection | undefined> {
  const connection = await connectHost(terrarium.home);
  if (connection) onTestFinished(() => connection.close());
  return connection;
}

function textOf(stream: NodeJS.ReadableStream): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return () => text;
}
