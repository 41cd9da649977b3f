import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { SegmentSpec } from "../../../core/net/control";
import { connectNamespaces, Namespace } from "../../support/namespaces";
import type { FabricMemory, FabricSetting } from "./netFabricProcess";
import { passing } from "./processes";

/** A program of the bench that talks in JSON lines. */
export class Talking {
  private readonly heard: Record<string, unknown>[] = [];
  private wake: () => void = () => undefined;
  private complaint = "";
  private end: string | undefined;

  constructor(
    private readonly child: ChildProcess,
    private readonly name: string,
  ) {
    child.stderr?.on("data", (chunk: Buffer) => (this.complaint = (this.complaint + chunk.toString()).slice(-4000)));
    if (child.stdout) {
      createInterface(child.stdout).on("line", (line) => {
        this.heard.push(JSON.parse(line) as Record<string, unknown>);
        this.wake();
      });
    }
    child.once("close", (code, signal) => {
      this.end = `ended with ${code ?? signal}`;
      this.wake();
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** The next thing it says. */
  async says<T>(): Promise<T> {
    for (;;) {
      const words = this.heard.shift();
      if (words !== undefined) return words as T;
      if (this.end !== undefined) throw new Error(`${this.name} ${this.end}: ${this.complaint}`);
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  /** For one that does not listen. */
  kill(): void {
    this.child.kill("SIGKILL");
  }

  /** Ends it by the end of its standard input. */
  async close(): Promise<void> {
    if (this.end !== undefined) return;
    const ended = new Promise((resolve) => this.child.once("close", resolve));
    this.child.stdin?.end("close\n");
    await ended;
  }
}

/** A program of the bench, from the bundle of that name beside this one. */
export function talk(namespace: Namespace, program: "netFabricProcess" | "netTrafficProcess", ...args: string[]): Talking {
  return new Talking(namespace.spawn(process.execPath, "--expose-gc", join(__dirname, `${program}.cjs`), ...args), program);
}

/** A host with a card of its own, which some of those that are measured insist on. */
export async function makeHost(): Promise<{ readonly host: Namespace; dispose(): Promise<void> }> {
  const host = await Namespace.create("h");
  const outside = await Namespace.create("o");
  await connectNamespaces(host, outside, "lan0");
  await host.succeed("ip", "address", "add", "198.51.100.2/24", "dev", "lan0");
  await host.succeed("ip", "route", "add", "default", "via", "198.51.100.1");
  return {
    host,
    dispose: async () => {
      await host.dispose();
      await outside.dispose();
    },
  };
}

/** A network namespace as the guest of somebody's NAT. */
export interface NatGuest {
  readonly name: string;
  readonly guest: Namespace;
  /** Behind it is the host's loopback. */
  readonly gateway: string;
  /** Of the process that carries its frames. */
  readonly pid: number;
  dispose(): Promise<void>;
}

export interface OurNatGuest extends NatGuest {
  readonly fabric: Talking;
  memory(): Promise<FabricMemory>;
}

/** Until something is so; what never is so is told by what the bench's part then fails with. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries > 200) throw new Error(`${what} has not come about within 10 s`);
    await passing(50);
  }
}

function hasAddress(guest: Namespace, card: string): () => Promise<boolean> {
  return async () => / inet \S+/.test((await guest.run("ip", "-4", "address", "show", "dev", card)).stdout);
}

/** Runs a program that a namespace's end kills; what it prints is kept for when it fails. */
function carrier(namespace: Namespace, program: string, ...args: string[]): { readonly pid: number; readonly complaint: () => string } {
  const child = namespace.spawn(program, ...args);
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (printed = (printed + chunk.toString()).slice(-4000)));
  return { pid: child.pid ?? 0, complaint: () => printed };
}

export async function slirpGuest(host: Namespace, mtu: number): Promise<NatGuest> {
  const guest = await Namespace.create("s");
  const slirp = carrier(host, "slirp4netns", "--netns-type=path", "--configure", `--mtu=${mtu}`, `/run/netns/${guest.name}`, "tap0");
  await until(`slirp4netns (${slirp.complaint()})`, hasAddress(guest, "tap0"));
  return { name: "slirp4netns", guest, gateway: "10.0.2.2", pid: slirp.pid, dispose: () => guest.dispose() };
}

export async function pastaGuest(host: Namespace, mtu: number): Promise<NatGuest> {
  const guest = await Namespace.create("p");
  const pasta = carrier(
    host, "pasta", "--foreground", "--netns", `/run/netns/${guest.name}`, "--config-net", "--runas", "0", "--mtu", String(mtu),
    "--address", "10.0.5.15", "--netmask", "255.255.255.0", "--gateway", "10.0.5.2", "--interface", "lan0", "--ns-ifname", "tap0",
    ...["-t", "-u", "-T", "-U"].flatMap((option) => [option, "none"]),
  );
  await until(`pasta (${pasta.complaint()})`, hasAddress(guest, "tap0"));
  return { name: "pasta", guest, gateway: "10.0.5.2", pid: pasta.pid, dispose: () => guest.dispose() };
}

function natSegment(mtu: number): SegmentSpec {
  return { id: "network:bench", label: "the network bench", mode: "nat-network", subnet: "10.0.7.0/24", gateway: "10.0.7.2", mtu, nat: { hostLoopback: true, hostNetworks: true } };
}

let taps = 0;

async function settle(host: Namespace, guest: Namespace, tap: string, address: string, mtu: number): Promise<void> {
  await host.succeed("ip", "link", "set", tap, "netns", guest.name);
  await guest.succeed("ip", "link", "set", tap, "mtu", String(mtu), "up");
  await guest.succeed("ip", "address", "add", `${address}/24`, "dev", tap);
}

export async function ourGuest(host: Namespace, loop: FabricSetting["loop"], mtu: number, delayMs?: number): Promise<OurNatGuest> {
  const guest = await Namespace.create("g");
  const tap = `ttb${process.pid % 10_000}n${taps++}`;
  const setting: FabricSetting = { loop, segment: natSegment(mtu), taps: [{ name: tap, mac: "52:54:00:00:00:01" }], ...(delayMs === undefined ? {} : { delayMs }) };
  const fabric = talk(host, "netFabricProcess", JSON.stringify(setting));
  await fabric.says();
  await settle(host, guest, tap, "10.0.7.15", mtu);
  return {
    name: `ours (${loop})`,
    guest,
    gateway: "10.0.7.2",
    pid: fabric.pid,
    fabric,
    memory: async () => {
      fabric.tell("memory");
      return (await fabric.says<{ memory: FabricMemory }>()).memory;
    },
    dispose: async () => {
      await fabric.close();
      await guest.dispose();
    },
  };
}

/** Two namespaces that a switch connects. */
export interface SwitchedPair {
  readonly name: string;
  readonly one: Namespace;
  readonly other: Namespace;
  readonly otherAddress: string;
  readonly pids: readonly number[];
  dispose(): Promise<void>;
}

export async function ourPair(host: Namespace, loop: FabricSetting["loop"], mtu = 1500): Promise<SwitchedPair> {
  const [one, other] = [await Namespace.create("a"), await Namespace.create("b")];
  const names = [0, 1].map(() => `ttb${process.pid % 10_000}s${taps++}`) as [string, string];
  const segment: SegmentSpec = { id: "network:bench", label: "the network bench", mode: "internal", mtu };
  const setting: FabricSetting = { loop, segment, taps: names.map((name, index) => ({ name, mac: `52:54:00:00:01:0${index}` })) };
  const fabric = talk(host, "netFabricProcess", JSON.stringify(setting));
  await fabric.says();
  await settle(host, one, names[0], "10.0.8.1", mtu);
  await settle(host, other, names[1], "10.0.8.2", mtu);
  return {
    name: `ours (${loop})`,
    one,
    other,
    otherAddress: "10.0.8.2",
    pids: [fabric.pid],
    dispose: async () => {
      await fabric.close();
      await one.dispose();
      await other.dispose();
    },
  };
}

export async function vdePair(host: Namespace): Promise<SwitchedPair> {
  const [one, other] = [await Namespace.create("a"), await Namespace.create("b")];
  const folder = await mkdtemp(join(tmpdir(), "tb-vde-"));
  const socket = join(folder, "vde");
  // It ends with its standard input, which nobody writes to.
  const vde = carrier(host, "vde_switch", "--sock", socket);
  const pids = [vde.pid];
  await until(`vde_switch (${vde.complaint()})`, async () => (await host.run("test", "-S", join(socket, "ctl"))).code === 0);
  for (const [index, namespace] of [one, other].entries()) {
    const plug = carrier(namespace, "vde_plug2tap", "--sock", socket, "tap0");
    pids.push(plug.pid);
    await until(`vde_plug2tap (${plug.complaint()})`, async () => (await namespace.run("ip", "link", "show", "tap0")).code === 0);
    await namespace.succeed("ip", "address", "add", `10.0.9.${index + 1}/24`, "dev", "tap0");
    await namespace.succeed("ip", "link", "set", "tap0", "up");
  }
  return {
    name: "vde_switch",
    one,
    other,
    otherAddress: "10.0.9.2",
    pids,
    dispose: async () => {
      await one.dispose();
      await other.dispose();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
