import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What a program that ran to its end left behind. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let made = 0;

/**
 * A network namespace of the kernel: a computer's whole network of its own. `/etc/netns/NAME` gives it a resolver of its
 * own (ip-netns(8)). Needs root, as CI and containers have it.
 */
export class Namespace {
  private readonly children: ChildProcess[] = [];

  private constructor(readonly name: string) {}

  static async create(role: string): Promise<Namespace> {
    const namespace = new Namespace(`tt${process.pid}${role}${made++}`);
    await run("ip", ["netns", "add", namespace.name]);
    await namespace.succeed("ip", "link", "set", "lo", "up");
    return namespace;
  }

  /** The words that run a program in here. */
  get prefix(): readonly string[] {
    return ["ip", "netns", "exec", this.name];
  }

  run(program: string, ...args: string[]): Promise<Ran> {
    return run("ip", ["netns", "exec", this.name, program, ...args]);
  }

  /** Runs a program that must succeed, and answers what it printed. */
  async succeed(program: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(program, ...args);
    if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code} in ${this.name}: ${stderr}`);
    return stdout;
  }

  /** Starts a program that goes on until the namespace is removed. */
  spawn(program: string, ...args: string[]): ChildProcess {
    const child = spawn("ip", ["netns", "exec", this.name, program, ...args], { stdio: ["pipe", "pipe", "pipe"] });
    this.children.push(child);
    return child;
  }

  async setResolver(address: string): Promise<void> {
    const folder = join("/etc/netns", this.name);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "resolv.conf"), `nameserver ${address}\n`);
  }

  /** Ends what was started in it and removes it; its interfaces go with it. */
  async dispose(): Promise<void> {
    await Promise.all(
      this.children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await ended;
      }),
    );
    await run("ip", ["netns", "delete", this.name]);
    await rm(join("/etc/netns", this.name), { recursive: true, force: true });
  }
}

function run(program: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === "number") resolve({ code: error.code, stdout, stderr });
      else reject(error);
    });
  });
}

/** A cable between two namespaces, with an interface of the given name in each. */
export async function connectNamespaces(one: Namespace, other: Namespace, name: string): Promise<void> {
  await run("ip", ["link", "add", name, "netns", one.name, "type", "veth", "peer", "name", name, "netns", other.name]).then(({ code, stderr }) => {
    if (code !== 0) throw new Error(`no cable between ${one.name} and ${other.name}: ${stderr}`);
  });
  for (const namespace of [one, other]) await namespace.succeed("ip", "link", "set", name, "up");
}

/**
 * A host on a LAN, with the rest of the world on the same LAN: the addresses are those that documents may use
 * (RFC 5737). The outside has a name server and DHCP server (dnsmasq), a web server and echo servers.
 */
export class World {
  static readonly card = "lan0";
  static readonly hostAddress = "198.51.100.2";
  static readonly outsideAddress = "198.51.100.1";
  /** What the outside's DHCP server gives to bridged guests. */
  static readonly lanPool = /^198\.51\.100\.1[0-4]\d$/;
  /** A name that only the outside's name server knows. */
  static readonly name = "outside.example";
  static readonly ports = { http: 80, echo: 7 } as const;

  private constructor(
    readonly host: Namespace,
    readonly outside: Namespace,
  ) {}

  static async create(): Promise<World> {
    const host = await Namespace.create("h");
    const outside = await Namespace.create("o");
    const world = new World(host, outside);
    try {
      await connectNamespaces(host, outside, World.card);
      await host.succeed("ip", "address", "add", `${World.hostAddress}/24`, "dev", World.card);
      await host.succeed("ip", "route", "add", "default", "via", World.outsideAddress);
      await host.setResolver(World.outsideAddress);
      await outside.succeed("ip", "address", "add", `${World.outsideAddress}/24`, "dev", World.card);
      await world.serve();
      return world;
    } catch (error) {
      await world.dispose();
      throw error;
    }
  }

  private async serve(): Promise<void> {
    // Its pid file and leases go nowhere: nothing of it is to stay.
    const names = this.outside.spawn(
      "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-hosts", "--no-resolv", "--log-facility=-", "--dhcp-leasefile=/dev/null",
      `--interface=${World.card}`, "--bind-interfaces", "--dhcp-authoritative", "--dhcp-range=198.51.100.100,198.51.100.149,10m", "--log-dhcp",
      `--dhcp-option=option:router,${World.outsideAddress}`, `--address=/${World.name}/${World.outsideAddress}`,
    );
    await line(names, /started/);
    await serveEchoes(this.outside);
  }

  async dispose(): Promise<void> {
    await this.host.dispose();
    await this.outside.dispose();
  }
}

/** A web server and echo servers in a namespace, on all its addresses. */
export async function serveEchoes(namespace: Namespace): Promise<ChildProcess> {
  const servers = namespace.spawn(process.execPath, join(__dirname, "outside.mjs"), String(World.ports.http), String(World.ports.echo));
  await line(servers, /^ready$/);
  return servers;
}

/** Resolves with the first line of a program's output that looks so. */
async function line(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const heard: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface(stream).on("line", (text) => {
        heard.push(text);
        if (pattern.test(text)) resolve(text);
      });
    }
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`it ended with ${code} and said: ${heard.join("\n")}`)));
  });
}
