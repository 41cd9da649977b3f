import { mkdir, readFile, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MiB } from "../../../core/base/bytes";
import { systemClock, type Clock } from "../../../core/base/clock";
import { createLog, silentLog } from "../../../core/base/log";
import { isRunning } from "../../../core/base/processes";
import { FabricProcess, type FabricOptions } from "../../../core/machine/fabricProcess";
import type { FabricState, ForwardSpec } from "../../../core/net/control";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const nothing: FabricState = { segments: [], ports: [], forwards: [] };
const fabrics: FabricProcess[] = [];
const pids = new Set<number>();

function forward(hostPort: number): ForwardSpec {
  return { id: `m:0:tcp:127.0.0.1:${hostPort}`, segment: "s", mac: "52:54:00:00:00:01", machine: "web", forward: { protocol: "tcp", hostAddress: "127.0.0.1", hostPort, guestPort: 22 }, target: "running" };
}

function state(hostPort: number, ports: FabricState["ports"] = []): FabricState {
  return { segments: [], ports, forwards: [forward(hostPort)] };
}

function open(script = "fakeFabric.mjs", other: Partial<Pick<FabricOptions, "clock" | "log">> = {}): FabricProcess {
  const fabric = new FabricProcess({ runtime: { node: process.execPath, env: {}, fabric: join(__dirname, "../../support", script) }, runDir: folder.path, home: folder.path, clock: systemClock(), log: silentLog, ...other });
  fabric.onDidChange(() => fabric.pid !== undefined && pids.add(fabric.pid));
  fabrics.push(fabric);
  return fabric;
}

interface Note {
  readonly pid: number;
  readonly applied?: FabricState;
  readonly stopped?: true;
}

async function journal(): Promise<Note[]> {
  const text = await readFile(join(folder.path, "fabric.journal"), "utf8");
  return text.trim().split("\n").map((line) => JSON.parse(line) as Note);
}

beforeEach(() => mkdir(join(folder.path, "logs")));
afterEach(async () => {
  for (const fabric of fabrics.splice(0)) {
    if (fabric.hello) await fabric.want(nothing);
    fabric.dispose();
    await fabric.settled();
  }
  for (const pid of pids) expect(await isRunning({ pid })).toBe(false);
  pids.clear();
});

describe("the fabric's process", () => {
  it("is started when there is something to do, and ends when there is nothing", async () => {
    const fabric = open();
    await fabric.want(nothing);
    expect(fabric.hello).toBeUndefined();
    await fabric.want(state(2222));
    expect(fabric.status?.forwards).toEqual([{ id: forward(2222).id }]);
    const { pid } = fabric;
    await fabric.want(nothing);
    expect(fabric.status).toBeUndefined();
    expect(await isRunning({ pid: pid! })).toBe(false);
  });

  it("is told the latest word, and a word once", async () => {
    const fabric = open();
    await Promise.all([fabric.want(state(1)), fabric.want(state(2)), fabric.want(state(3))]);
    await fabric.want(state(3));
    const applied = (await journal()).flatMap((note) => note.applied?.forwards[0]?.forward.hostPort ?? []);
    expect(applied.at(-1)).toBe(3);
    expect(applied.filter((port) => port === 3)).toHaveLength(1);
  });

  it("says of a forward why it does not listen", async () => {
    const fabric = open();
    await fabric.want(state(666));
    expect(fabric.status?.forwards[0]?.problem).toMatchObject({ code: "locked" });
  });

  it("outlives the host service, and is found again with what it does", async () => {
    const first = open();
    await first.want(state(2222));
    const { pid } = first;
    first.dispose();
    const second = open();
    expect(await second.find()).toEqual(state(2222));
    expect(second.pid).toBe(pid);
    await second.want(state(2223));
    expect((await journal()).at(-1)).toMatchObject({ pid, applied: state(2223) });
  });

  it("is started again when it dies, and told the same word", async () => {
    const fabric = open();
    await fabric.want(state(2222));
    const { pid } = fabric;
    let restarts = 0;
    fabric.onDidRestart(() => restarts++);
    process.kill(pid!, "SIGKILL");
    await expect.poll(() => fabric.status !== undefined && fabric.pid !== pid, { timeout: 15_000 }).toBe(true);
    expect(restarts).toBe(1);
    expect((await journal()).at(-1)).toMatchObject({ pid: fabric.pid, applied: state(2222) });
  });

  it("of another build is replaced, but not while a machine depends on it", async () => {
    const old = open();
    const port = { id: "m:0", socket: "/s", segment: null, mac: "52:54:00:00:00:01", plugged: true, macPolicy: "any" as const };
    await old.want(state(2222, [port]));
    const { pid } = old;
    old.dispose();
    const newer = open("fakeFabricOfAnotherBuild.mjs");
    await newer.find();
    expect(newer.pid).toBe(pid);
    await newer.want(state(2222));
    newer.dispose();
    const newest = open("fakeFabricOfAnotherBuild.mjs");
    expect(await newest.find()).toBeUndefined();
    await newest.want(state(2222));
    expect(newest.pid).not.toBe(pid);
    expect(await isRunning({ pid: pid! })).toBe(false);
  });

  it("that cannot be found any more, as its socket file is gone, gives way to another one", async () => {
    const first = open();
    await first.want(state(2222));
    const { pid } = first;
    first.dispose();
    await unlink(join(folder.path, "fabric.sock"));
    const second = open();
    expect(await second.find()).toBeUndefined();
    await second.want(state(2222));
    expect(second.pid).not.toBe(pid);
    expect(await isRunning({ pid: pid! })).toBe(false);
  });

  it("lives on, and another one starts, while its log has grown too long and cannot be begun anew", async () => {
    const log = join(folder.path, "logs", "fabric.log");
    await writeFile(log, "");
    await truncate(log, 33 * MiB);
    // The copy has no place.
    await mkdir(`${log}.1`);
    // Time that passes by itself, but for the heart, which beats when it is told to.
    let beat: (() => void) | undefined;
    const system = systemClock();
    const hearted: Clock = { now: () => system.now(), monotonic: () => system.monotonic(), schedule: (ms, callback) => (ms === 20_000 ? ((beat = callback), { dispose: () => undefined }) : system.schedule(ms, callback)) };
    const complaints: string[] = [];
    const fabric = open("fakeFabric.mjs", { clock: hearted, log: createLog((line) => complaints.push(line)) });
    await fabric.want(state(2222));
    const { pid } = fabric;
    expect(complaints.filter((line) => line.includes("could not be begun anew"))).toHaveLength(1);
    const before = beat;
    before?.();
    await expect.poll(() => beat !== before).toBe(true);
    expect(fabric.pid).toBe(pid);
    expect(complaints.filter((line) => line.includes("could not be begun anew"))).toHaveLength(2);
  });

  it("says what keeps it from working, and is tried again", async () => {
    const fabric = open();
    await expect(fabric.want(state(6660))).rejects.toMatchObject({ code: "disconnected" });
    expect(fabric.problem).toMatchObject({ code: "disconnected" });
    await fabric.want(state(2222));
    expect(fabric.problem).toBeUndefined();
  });
});
