import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../core/base/clock";
import type { MachineInfo, Notice } from "../../core/contract/model";
import type { Attachment, NetworkInfo } from "../../core/contract/network";
import { readLock } from "../../core/machine/access";
import { FabricClient } from "../../core/machine/fabricClient";
import { fabricSocketPath } from "../../core/machine/fabricProcess";
import { connectHost, type HostConnection } from "../../core/server/client";
import { CommandLine } from "../support/commandLine";
import { World } from "../support/namespaces";

/**
 * What becomes of guests' networks when those who look after them are killed, held up or told something new: a guest on
 * each engine behind one NAT network, on a host that is a namespace.
 */

const names = ["v", "q"] as const;
type Name = (typeof names)[number];
const engines: Record<Name, string> = { v: "v86", q: "qemu" };
const sshPorts: Record<Name, number> = { v: 2222, q: 2223 };
const webPorts: Record<Name, number> = { v: 8001, q: 8002 };
/** What curl ends with: nobody listens; the connection was reset; the answer was empty. */
const curlRefused = [7, 52, 56];

let world: World;
let terrarium: CommandLine;
let host: HostConnection;
/** Where the home's sockets lie. */
let runDir: string;
let notices: Notice[] = [];
const ids = {} as Record<Name, string>;

/** Asks again until the answer is what was hoped for. The ceiling is for what never comes. */
async function until<T>(ask: () => Promise<T>, isSo: (answer: T) => boolean): Promise<T> {
  for (const ceiling = Date.now() + 50_000; ; ) {
    const answer = await ask();
    if (isSo(answer)) return answer;
    if (Date.now() > ceiling) throw new Error(`it never came, and the last answer was ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function shell(name: Name, line: string): Promise<{ ok: boolean; output: string }> {
  const { exitCode, stdout, stderr } = await host.call("machine.exec", { id: ids[name], command: "/bin/sh", args: ["-c", line] });
  return { ok: exitCode === 0, output: (stdout + stderr).trim() };
}

/** Starts something in a guest that goes on. */
async function inBackground(name: Name, line: string): Promise<void> {
  expect(await shell(name, `(${line}) </dev/null >/dev/null 2>&1 &`)).toEqual({ ok: true, output: "" });
}

const answers = (name: Name, address: string): Promise<boolean> => shell(name, `ping -c 1 -W 3 ${address}`).then(({ ok }) => ok);

/** What the host's own browser is told at a port. */
const page = (port: number): ReturnType<World["host"]["run"]> => world.host.run("curl", "-sS", "--max-time", "20", `http://127.0.0.1:${port}/cgi-bin/index.cgi`);

async function pageTitle(name: Name): Promise<string | undefined> {
  const { stdout } = await page(webPorts[name]);
  return /<title>(.*)<\/title>/.exec(stdout)?.[1];
}

function ssh(name: Name, key: string, ...command: string[]): ReturnType<World["host"]["run"]> {
  const options = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new", `UserKnownHostsFile=${join(terrarium.home, "known_hosts")}`, "ConnectTimeout=20"];
  return world.host.run("ssh", "-F", "/dev/null", ...options.flatMap((option) => ["-o", option]), "-i", key, "-p", String(sshPorts[name]), "root@127.0.0.1", ...command);
}

/** Connects to the service that serves the home now. */
async function connect(): Promise<void> {
  host?.close();
  const connection = await connectHost(terrarium.home);
  if (connection === undefined) throw new Error("no host service is there");
  host = connection;
  host.onDidChange((event) => {
    if (event.type === "notice") notices.push(event.notice);
  });
}

async function killService(): Promise<void> {
  const pid = await terrarium.servicePid();
  if (pid === undefined) throw new Error("no host service is there");
  process.kill(pid, "SIGKILL");
  await until(() => terrarium.servicePid(), (now) => now !== pid);
}


/** Whom the host service has noted as its fabric. */
async function fabricPid(): Promise<number> {
  return (JSON.parse(await readFile(join(runDir, "fabric.json"), "utf8")) as { pid: number }).pid;
}

async function attach(name: Name, attachment: Attachment, belongs: RegExp): Promise<string> {
  await host.call("adapter.attach", { id: ids[name], adapter: 0, attachment });
  return addressOf(name, belongs);
}

/** The address that a guest says it has. */
async function addressOf(name: Name, belongs: RegExp): Promise<string> {
  const found = ({ guest }: MachineInfo): string | undefined => guest.addresses.find(({ address }) => belongs.test(address))?.address;
  return found(await until(() => host.call("machine.get", { id: ids[name] }), (machine) => found(machine) !== undefined))!;
}

async function networkList(): Promise<NetworkInfo[]> {
  return JSON.parse(await terrarium.text("network", "list", "--json")) as NetworkInfo[];
}

const orchard: Attachment = { mode: "nat-network", network: "orchard" };
const inOrchard = /^10\.80\.0\./;

beforeAll(async () => {
  world = await World.create();
  terrarium = await CommandLine.open(world.host.prefix);
  await terrarium.text("network", "create", "orchard", "--mode", "nat-network", "--subnet", "10.80.0.0/24");
  await connect();
  runDir = (await readLock(terrarium.home))!.runDir;
  await Promise.all(
    names.map(async (name) => {
      await terrarium.text("create", name, "--template", "starter", "--engine", engines[name], "--memory", "128M", "--net", "nat-network:orchard");
      await terrarium.text("start", name, "--wait");
      ids[name] = (await terrarium.machine(name)).id;
      await terrarium.text("forward", "add", name, `tcp:127.0.0.1:${sshPorts[name]}:22`);
      await terrarium.text("forward", "add", name, `tcp:127.0.0.1:${webPorts[name]}:80`);
      await addressOf(name, inOrchard);
    }),
  );
});

beforeEach(() => {
  notices = [];
});

afterAll(async () => {
  host?.close();
  await terrarium?.close();
  await world?.dispose();
});

describe("port forwards", () => {
  it("lead the host's own ssh to the guests, with the home's key and no other", async () => {
    const stranger = join(terrarium.home, "stranger");
    await world.host.succeed("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger);
    for (const name of names) {
      expect(await ssh(name, join(terrarium.home, "ssh", "id_ed25519"), "hostname")).toMatchObject({ code: 0, stdout: `${name}\n` });
      const refused = await ssh(name, stranger, "hostname");
      expect(refused).toMatchObject({ code: 255, stdout: "" });
      expect(refused.stderr).toContain("Permission denied (publickey");
    }
  });

  it("lead curl to the guests' web servers", async () => {
    for (const name of names) expect(await pageTitle(name)).toBe(name);
  });

  it("wait for a machine that is paused and goes on within five seconds, and end when it does not", async () => {
    for (const name of names) {
      await host.call("machine.pause", { id: ids[name] });
      const waiting = page(webPorts[name]);
      // The host's kernel has taken the connection, and the fabric holds it.
      await until(() => world.host.succeed("ss", "-Htn", "state", "established", `sport = :${webPorts[name]}`), (connections) => connections !== "");
      await host.call("machine.resume", { id: ids[name] });
      expect(await waiting).toMatchObject({ code: 0, stdout: expect.stringContaining(`<title>${name}</title>`) as string });
    }
    await host.call("machine.pause", { id: ids.v });
    // Who connects before the fabric has heard of the pause is refused as by any guest that does not answer.
    const knock = async (): Promise<Notice[]> => {
      const { code } = await page(webPorts.v);
      expect(curlRefused).toContain(code);
      return notices;
    };
    await until(knock, (told) => told.some(({ machineId, message }) => machineId === ids.v && /paused/.test(message)));
    await host.call("machine.resume", { id: ids.v });
    expect(await pageTitle("v")).toBe("v");
  });

  it("reset whoever knocks at a machine that is off, which is told", async () => {
    for (const name of names) {
      await terrarium.text("poweroff", name);
      const { code, stderr } = await page(webPorts[name]);
      // Not 28, which is a time-out.
      expect({ name, code, stderr }).toMatchObject({ code: expect.toSatisfy((ended: number) => curlRefused.includes(ended)) as number });
      await until(async () => notices, (told) => told.some(({ machineId, message }) => machineId === ids[name] && message.includes(`port ${webPorts[name]}`)));
      await terrarium.text("start", name, "--wait");
      await addressOf(name, inOrchard);
      expect(await pageTitle(name)).toBe(name);
      // The host key is the same, or ssh would not go on.
      expect(await ssh(name, join(terrarium.home, "ssh", "id_ed25519"), "hostname")).toMatchObject({ code: 0, stdout: `${name}\n` });
    }
  });
});

describe("a host service that is killed", () => {
  it("leaves a download through NAT going on, and the next one finds everything as it was", async () => {
    const bytes = 8 << 20;
    const url = `http://${World.outsideAddress}/bytes/${bytes}`;
    const expected = /^x-sha256: (\S+)/im.exec(await world.host.succeed("curl", "-sS", "-D", "-", "-o", "/dev/null", url))![1]!;
    // So slow that the service is gone in the middle of it, for certain.
    for (const name of names) await terrarium.text("adapter", "set", name, "0", "--rate-to-guest", "8M");
    for (const name of names) await inBackground(name, `wget -q -O - ${url} | sha256sum > /tmp/sum.new; mv /tmp/sum.new /tmp/sum`);
    const downloads = async (): Promise<number[]> => (await host.call("network.flows", { of: { network: "orchard" } })).filter(({ remote, protocol }) => protocol === "tcp" && remote.port === World.ports.http).map(({ receivedBytes }) => receivedBytes);
    await until(downloads, (received) => received.length === names.length && received.every((count) => count > 1 << 18));
    const seen = async (): Promise<unknown> => ({
      networks: await networkList(),
      machines: await Promise.all(names.map(async (name) => terrarium.machine(name).then(({ state, config, network }) => ({ state, config, network })))),
      forwards: await Promise.all(names.map(async (name) => terrarium.text("forward", "list", name))),
    });
    const before = await seen();
    const fabric = await fabricPid();
    await killService();
    expect(await seen()).toEqual(before);
    expect(await fabricPid()).toBe(fabric);
    await connect();
    const midway = await downloads();
    expect(midway).toHaveLength(names.length);
    for (const count of midway) expect(count).toBeLessThan(bytes);
    for (const name of names) await terrarium.text("adapter", "set", name, "0", "--rate-to-guest", "");
    for (const name of names) {
      const { output } = await until(() => shell(name, "cat /tmp/sum"), ({ ok }) => ok);
      expect({ [name]: output.split(" ")[0] }).toEqual({ [name]: expected });
      expect(await pageTitle(name)).toBe(name);
    }
    expect(notices).toEqual([]);
  });
});

describe("a fabric", () => {
  it("that is killed is started again, and guests go on with their network and with each other", async () => {
    // A line twenty times a second, from one guest to the other, as long as they like.
    const serve = `
      socket(L, 2, 1, 6) or die; setsockopt(L, 1, 2, 1); bind(L, pack("S n x12", 2, 9000)) or die; listen(L, 1) or die;
      accept(S, L) or die; for (my $n = 1; !-e "/tmp/enough"; $n++) { syswrite(S, "$n\\n") or die; select(undef, undef, undef, 0.05) }
      syswrite(S, "end\\n");`;
    const take = `
      socket(S, 2, 1, 6) or die; connect(S, pack("S n C4 x8", 2, 9000, split /[.]/, $ARGV[0])) or die;
      open(F, ">", "/tmp/taken"); select(F); $| = 1; print while <S>;`;
    const address = await addressOf("q", inOrchard);
    await inBackground("q", `perl -e '${serve}'`);
    await until(() => shell("q", "netstat -tln"), ({ output }) => output.includes(":9000 "));
    await inBackground("v", `perl -e '${take}' ${address}`);
    const taken = async (): Promise<number> => Number((await shell("v", "cat /tmp/taken 2>/dev/null | wc -l")).output);
    await until(taken, (count) => count > 5);

    const killed = await fabricPid();
    process.kill(killed, "SIGKILL");
    await until(async () => notices, (told) => told.some(({ message }) => message.startsWith("The network fabric has ended unexpectedly")));
    const pid = await until(fabricPid, (now) => now !== killed);
    expect(pid).not.toBe(killed);
    for (const name of names) await until(() => host.call("machine.get", { id: ids[name] }), ({ network }) => network?.[0]?.connected === true && network[0].forwards.every(({ problem }) => problem === undefined));
    for (const name of names) {
      expect(await answers(name, World.outsideAddress)).toBe(true);
      expect(await pageTitle(name)).toBe(name);
    }

    const count = await taken();
    await until(taken, (now) => now > count + 5);
    await shell("q", "touch /tmp/enough");
    const { output } = await until(() => shell("v", "cat /tmp/taken"), ({ output }) => output.endsWith("end"));
    const lines = output.split("\n");
    expect(lines.slice(0, -1)).toEqual(Array.from({ length: lines.length - 1 }, (_, index) => String(index + 1)));
  });

  it("that is stopped lets no frame pass, and goes on when it may", async () => {
    await terrarium.text("network", "create", "lab", "--mode", "internal", "--subnet", "10.81.0.0/24", "--dhcp");
    const addresses = {} as Record<Name, string>;
    for (const name of names) addresses[name] = await attach(name, { mode: "internal", network: "lab" }, /^10\.81\.0\./);
    const other: Record<Name, Name> = { v: "q", q: "v" };
    for (const name of names) expect(await answers(name, addresses[other[name]])).toBe(true);

    const count = async (name: Name, which: "rx" | "tx"): Promise<number> => Number((await shell(name, `cat /sys/class/net/eth0/statistics/${which}_packets`)).output);
    const received = (): Promise<number[]> => Promise.all(names.map((name) => count(name, "rx")));
    const sent = (): Promise<number[]> => Promise.all(names.map((name) => count(name, "tx")));
    const pid = await fabricPid();
    process.kill(pid, "SIGSTOP");
    try {
      // What had passed it already may still arrive.
      let last = await received();
      const before = await until(received, (now) => {
        const isStill = String(now) === String(last);
        last = now;
        return isStill;
      });
      const sentBefore = await sent();
      for (const name of names) expect(await answers(name, addresses[other[name]])).toBe(false);
      const sentAfter = await sent();
      for (const index of names.keys()) expect(sentAfter[index]).toBeGreaterThan(sentBefore[index]!);
      expect(await received()).toEqual(before);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    for (const name of names) expect(await answers(name, addresses[other[name]])).toBe(true);
    expect(await fabricPid()).toBe(pid);
  });

  it("counts as many frames as a capture on the host's interface sees", async () => {
    await terrarium.text("network", "create", "desk", "--mode", "host-only", "--subnet", "192.168.77.0/24");
    for (const name of names) {
      const address = await attach(name, { mode: "host-only", network: "desk" }, /^192\.168\.77\./);
      const { hostInterface } = (await networkList()).find(({ config }) => config.name === "desk")!;
      const mac = (await terrarium.machine(name)).config!.adapters[0]!.mac;
      await killService();
      // While no service is there the fabric may be asked by others.
      await compare(address, hostInterface!, mac, `${ids[name]}:0`);
      await terrarium.text("list");
      await connect();
      await attach(name, orchard, inOrchard);
    }
  });
});

async function compare(address: string, card: string, mac: string, port: string): Promise<void> {
  const fabric = await FabricClient.connect(fabricSocketPath(runDir), systemClock());
  if (fabric === undefined) throw new Error("no fabric is there");
  const captured = { from: 0, to: 0 };
  const capture = world.host.spawn("tcpdump", "-l", "-n", "-e", "-i", card);
  const listening = new Promise<void>((resolve) => createInterface(capture.stderr!).on("line", (text) => /listening on/.test(text) && resolve()));
  createInterface(capture.stdout!).on("line", (text) => captured[text.includes(` ${mac} > `) ? "from" : "to"]++);
  await listening;
  const counted = async (): Promise<{ from: number; to: number }> => {
    const { receivedFrames, sentFrames } = (await fabric.call("counters", {}, 10_000)).ports[port]!;
    return { from: receivedFrames, to: sentFrames };
  };
  const first = await counted();
  const firstCaptured = { ...captured };
  await world.host.succeed("ping", "-q", "-i", "0.002", "-c", "300", "-s", "1000", address);
  await world.host.succeed("curl", "-sS", "-o", "/dev/null", `http://${address}/cgi-bin/index.cgi`);
  const both = async (): Promise<{ counted: unknown; captured: unknown }> => {
    const now = await counted();
    return { counted: { from: now.from - first.from, to: now.to - first.to }, captured: { from: captured.from - firstCaptured.from, to: captured.to - firstCaptured.to } };
  };
  // The last lines of the capture come a moment later.
  const { counted: frames } = await until(both, (now) => JSON.stringify(now.counted) === JSON.stringify(now.captured));
  expect(frames).toEqual({ from: expect.toSatisfy((count: number) => count >= 300) as number, to: expect.toSatisfy((count: number) => count >= 300) as number });
  fabric.dispose();
  capture.kill("SIGTERM");
}

describe("names", () => {
  const resolved = async (name: Name, what: string): Promise<string> => (await shell(name, `nslookup ${what} | tail -n +3`)).output;

  it("of the world and of each other are known to guests, by the host's resolver, which may change", async () => {
    const addresses = { v: await attach("v", orchard, inOrchard), q: await attach("q", orchard, inOrchard) };
    for (const name of names) {
      expect(await resolved(name, World.name)).toContain(World.outsideAddress);
      expect(await answers(name, World.name)).toBe(true);
    }
    expect(await resolved("v", "q")).toContain(addresses.q);
    expect(await resolved("q", "v")).toContain(addresses.v);
    expect(await answers("v", "q")).toBe(true);
    expect(await answers("q", "v")).toBe(true);

    const another = "198.51.100.3";
    const answer = "198.51.100.33";
    await world.outside.succeed("ip", "address", "add", `${another}/24`, "dev", World.card);
    const server = world.outside.spawn("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-hosts", "--no-resolv", "--log-facility=-", `--listen-address=${another}`, "--bind-interfaces", `--address=/${World.name}/${answer}`);
    await new Promise<void>((resolve) => createInterface(server.stderr!).on("line", (text) => /started/.test(text) && resolve()));
    await world.host.setResolver(another);
    for (const name of names) await until(() => resolved(name, World.name), (text) => text.includes(answer));
    expect(await resolved("v", "q")).toContain(addresses.q);
    await world.host.setResolver(World.outsideAddress);
    for (const name of names) await until(() => resolved(name, World.name), (text) => text.includes(World.outsideAddress) && !text.includes(answer));
  });
});
