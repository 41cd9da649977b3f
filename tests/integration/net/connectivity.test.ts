import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Attachment, MachineInfo } from "../../../core/contract/model";
import type { PortForward } from "../../../core/contract/network";
import { connectHost, type HostConnection } from "../../../core/server/client";
import { CommandLine } from "../../support/commandLine";
import { World, type Namespace } from "../../support/namespaces";

/**
 * Who reaches whom, in each mode of the network: the table of the design with real guests of both engines, two of each,
 * which are taken from one network to the next while they run. The host is a namespace on a LAN with the outside, in
 * which stand a name server, a web server and clients.
 */

/** By which means one end was reached from another. */
interface Reach {
  readonly ping: boolean;
  readonly tcp: boolean;
  readonly udp: boolean;
}
const all: Reach = { ping: true, tcp: true, udp: true };
const none: Reach = { ping: false, tcp: false, udp: false };

/** An answer must come within this, to count. */
const patienceSeconds = 3;
const guestPorts = { http: 80, echo: 7 };

const names = ["v1", "v2", "q1", "q2"] as const;
type Name = (typeof names)[number];
/** One pair on the built-in emulator, one on QEMU, and one of each. */
const pairs: readonly (readonly [Name, Name])[] = [
  ["v1", "v2"],
  ["q1", "q2"],
  ["v1", "q1"],
  ["q2", "v2"],
];

let world: World;
let terrarium: CommandLine;
let host: HostConnection;
const ids = {} as Record<Name, string>;

async function shell(name: Name, line: string): Promise<{ ok: boolean; output: string }> {
  const { exitCode, stdout, stderr } = await host.call("machine.exec", { id: ids[name], command: "/bin/sh", args: ["-c", line] });
  return { ok: exitCode === 0, output: stdout + stderr };
}

const udpClient = `
  my ($address, $port) = @ARGV;
  socket(S, 2, 2, 17) or die; connect(S, pack("S n C4 x8", 2, $port, split /[.]/, $address)) or die;
  send(S, "hello", 0) or die; vec(my $wanted = "", fileno S, 1) = 1;
  select($wanted, undef, undef, ${patienceSeconds}) > 0 or exit 1;
  recv(S, my $answer, 1000, 0); print $answer; exit($answer =~ /^hello/ ? 0 : 1);`;

const udpServer = `
  socket(S, 2, 2, 17) or die; bind(S, pack("S n x12", 2, ${guestPorts.echo})) or die;
  while (my $peer = recv(S, my $message, 2000, 0)) { send(S, "$message at $ENV{NAME}", 0, $peer) }`;

/** What a guest reaches of `address`. `page` is what its web server must answer with. (The guest's wget dies of its own -T.) */
async function fromGuest(name: Name, address: string, page: string | RegExp): Promise<Reach> {
  const [ping, tcp, udp] = await Promise.all([
    shell(name, `ping -c 1 -W ${patienceSeconds} ${address}`),
    shell(name, `timeout ${patienceSeconds} wget -q -O - http://${address}/cgi-bin/index.cgi`),
    shell(name, `perl -e '${udpClient}' ${address} ${guestPorts.echo}`),
  ]);
  return { ping: ping.ok, tcp: tcp.ok && new RegExp(page).test(tcp.output), udp: udp.ok };
}

/** What a computer reaches of a guest. `name` undefined: nobody may answer. */
async function fromComputer(from: Namespace, address: string, ports: { http: number; echo: number }, name?: Name): Promise<Reach> {
  const [ping, tcp, udp] = await Promise.all([
    from.run("ping", "-c", "1", "-W", String(patienceSeconds), address),
    from.run("curl", "-sS", "--max-time", String(patienceSeconds), `http://${address}:${ports.http}/cgi-bin/index.cgi`),
    from.run("sh", "-c", `echo hello | socat -T ${patienceSeconds} - UDP4:${address}:${ports.echo}`),
  ]);
  return { ping: ping.code === 0, tcp: tcp.code === 0 && (name === undefined || tcp.stdout.includes(`<title>${name}</title>`)), udp: udp.stdout.startsWith("hello") };
}

/** Puts every guest's cable into a network, while they run, and waits until each has an address there. */
async function attachAll(attachment: Attachment, belongs: RegExp): Promise<Record<Name, string>> {
  const addresses = {} as Record<Name, string>;
  await Promise.all(
    names.map(async (name) => {
      await host.call("adapter.attach", { id: ids[name], adapter: 0, attachment });
      addresses[name] = await addressOf(name, belongs);
    }),
  );
  return addresses;
}

/** The address the guest itself says it has. */
async function addressOf(name: Name, belongs: RegExp): Promise<string> {
  const found = (machine: MachineInfo): string | undefined => machine.guest.addresses.find(({ address }) => belongs.test(address))?.address;
  return new Promise((resolve, reject) => {
    const look = (machine: MachineInfo): void => {
      const address = machine.id === ids[name] ? found(machine) : undefined;
      if (address === undefined) return;
      subscription.dispose();
      resolve(address);
    };
    const subscription = host.onDidChange((event) => {
      if (event.type === "machine") look(event.machine);
    });
    host.call("machine.get", { id: ids[name] }).then(look, reject);
  });
}

function forwards(hostAddress: string, base: number): { http: PortForward; echo: PortForward } {
  return {
    http: { protocol: "tcp", hostAddress, hostPort: base, guestPort: guestPorts.http },
    echo: { protocol: "udp", hostAddress, hostPort: base, guestPort: guestPorts.echo },
  };
}

/** Reaches a guest behind NAT from the host and from outside: not before there are forwards, and not after they went. */
async function throughForwards(name: Name, base: number): Promise<void> {
  const places = [
    { from: world.host, address: "127.0.0.1" },
    { from: world.outside, address: World.hostAddress },
  ];
  for (const [index, { from, address }] of places.entries()) {
    const port = base + index;
    const { http, echo } = forwards(address, port);
    const reach = async (): Promise<Pick<Reach, "tcp" | "udp">> => {
      const { tcp, udp } = await fromComputer(from, address, { http: port, echo: port }, name);
      return { tcp, udp };
    };
    expect(await reach()).toEqual({ tcp: false, udp: false });
    for (const forward of [http, echo]) await host.call("forward.add", { id: ids[name], adapter: 0, forward });
    expect(await reach()).toEqual({ tcp: true, udp: true });
    for (const { protocol, hostAddress, hostPort } of [http, echo]) await host.call("forward.remove", { id: ids[name], adapter: 0, forward: { protocol, hostAddress, hostPort } });
    expect(await reach()).toEqual({ tcp: false, udp: false });
  }
}

async function reachesOutside(name: Name, expected: Reach): Promise<void> {
  expect({ [name]: await fromGuest(name, World.outsideAddress, "you are") }).toEqual({ [name]: expected });
}

/** Every pair, both ways. */
async function amongGuests(addresses: Record<Name, string>, expected: Reach): Promise<void> {
  for (const [one, other] of pairs) {
    const [there, back] = await Promise.all([fromGuest(one, addresses[other], `<title>${other}</title>`), fromGuest(other, addresses[one], `<title>${one}</title>`)]);
    expect({ [`${one} to ${other}`]: there, [`${other} to ${one}`]: back }).toEqual({ [`${one} to ${other}`]: expected, [`${other} to ${one}`]: expected });
  }
}

beforeAll(async () => {
  world = await World.create();
  terrarium = await CommandLine.open(world.host.prefix);
  await terrarium.text("list");
  const connection = await connectHost(terrarium.home);
  if (connection === undefined) throw new Error("the host service has gone");
  host = connection;
  await host.call("network.create", { spec: { name: "orchard", mode: "nat-network" } });
  await host.call("network.create", { spec: { name: "lab", mode: "internal", subnet: "10.9.0.0/24", dhcp: { enabled: true } } });
  await host.call("network.create", { spec: { name: "desk", mode: "host-only" } });
  await Promise.all(
    names.map(async (name) => {
      const engine = name.startsWith("q") ? "qemu" : "v86";
      await terrarium.text("create", name, "--template", "starter", "--engine", engine, "--memory", "128M", "--net", "nat");
      await terrarium.text("start", name, "--wait");
      ids[name] = (await terrarium.machine(name)).id;
    }),
  );
  for (const name of names) await shell(name, `NAME=${name} setsid perl -e '${udpServer}' </dev/null >/dev/null 2>&1 &`);
});

afterAll(async () => {
  host?.close();
  await terrarium?.close();
  await world?.dispose();
});

describe("the table of network modes", () => {
  const behindNat = /^10\.0\.\d+\.15$/;

  it("nat: guests reach the outside and nobody reaches them, but through forwards", async () => {
    for (const name of names) expect(await addressOf(name, behindNat)).toMatch(behindNat);
    for (const name of names) await reachesOutside(name, all);
    expect(await fromComputer(world.host, await addressOf("v1", behindNat), guestPorts)).toEqual(none);
    expect(await fromComputer(world.outside, await addressOf("q1", behindNat), guestPorts)).toEqual(none);
    await throughForwards("v1", 2200);
    await throughForwards("q1", 2300);
  });

  it("nat: guests have the same address and yet see only themselves", async () => {
    for (const [one, other] of pairs) {
      const address = await addressOf(other, behindNat);
      const { output } = await shell(one, `timeout ${patienceSeconds} wget -q -O - http://${address}/cgi-bin/index.cgi`);
      expect(output).toContain(`<title>${one}</title>`);
      expect(output).not.toContain(other);
    }
  });

  it("nat-network: guests reach the outside and each other, and are reached through forwards only", async () => {
    const { config } = (await host.call("network.list", {})).find((network) => network.config.name === "orchard")!;
    const belongs = new RegExp(`^${config.subnet!.split(".").slice(0, 3).join("\\.")}\\.`);
    const addresses = await attachAll({ mode: "nat-network", network: "orchard" }, belongs);
    expect(new Set(Object.values(addresses)).size).toBe(names.length);
    for (const name of names) await reachesOutside(name, all);
    await amongGuests(addresses, all);
    expect(await fromComputer(world.host, addresses.v1, guestPorts)).toEqual(none);
    expect(await fromComputer(world.outside, addresses.q1, guestPorts)).toEqual(none);
    await throughForwards("q2", 2400);
    await throughForwards("v2", 2500);
  });

  it("internal: guests reach each other and nothing else", async () => {
    const addresses = await attachAll({ mode: "internal", network: "lab" }, /^10\.9\.0\./);
    await amongGuests(addresses, all);
    await Promise.all(names.map((name) => reachesOutside(name, none)));
    expect(await fromComputer(world.host, addresses.v1, guestPorts)).toEqual(none);
    expect(await fromComputer(world.outside, addresses.q1, guestPorts)).toEqual(none);
  });

  it("host-only: guests and the host reach each other, and nobody the outside", async () => {
    // So that a packet from outside would find its way, if the host let it.
    await world.outside.succeed("ip", "route", "replace", "192.168.56.0/24", "via", World.hostAddress);
    const addresses = await attachAll({ mode: "host-only", network: "desk" }, /^192\.168\.56\./);
    await amongGuests(addresses, all);
    for (const name of names) expect(await fromComputer(world.host, addresses[name], guestPorts, name)).toEqual(all);
    await Promise.all(names.map((name) => reachesOutside(name, none)));
    for (const name of names) expect((await shell(name, `ping -c 1 -W ${patienceSeconds} 192.168.56.1`)).ok).toBe(true);
    expect(await fromComputer(world.outside, addresses.v1, guestPorts)).toEqual(none);
    expect(await fromComputer(world.outside, addresses.q1, guestPorts)).toEqual(none);
  });

  it("bridged: guests are on the host's LAN, as everybody else there", async () => {
    const addresses = await attachAll({ mode: "bridged", network: World.card }, World.lanPool);
    expect(new Set(Object.values(addresses)).size).toBe(names.length);
    for (const name of names) await reachesOutside(name, all);
    await amongGuests(addresses, all);
    for (const name of names) {
      expect({ [name]: await fromComputer(world.outside, addresses[name], guestPorts, name) }).toEqual({ [name]: all });
      expect({ [name]: await fromComputer(world.host, addresses[name], guestPorts, name) }).toEqual({ [name]: all });
    }
  });

  it("none: nobody reaches anybody", async () => {
    const before = { v1: await addressOf("v1", World.lanPool), q1: await addressOf("q1", World.lanPool) };
    for (const name of names) await host.call("adapter.attach", { id: ids[name], adapter: 0, attachment: { mode: "none" } });
    await Promise.all(names.map((name) => reachesOutside(name, none)));
    for (const from of [world.host, world.outside]) {
      expect(await fromComputer(from, before.v1, guestPorts)).toEqual(none);
      expect(await fromComputer(from, before.q1, guestPorts)).toEqual(none);
    }
  });

  it("is the same again for guests that came back behind NAT", async () => {
    await attachAll({ mode: "nat" }, behindNat);
    for (const name of names) await reachesOutside(name, all);
  });
});
