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

/** For how long is waited for an answer that is to come, which costs nothing; and for one that is not, which is silence then. */
const patience = { answer: 30, silence: 4 };
const patienceFor = ({ ping, tcp, udp }: Partial<Reach>): number => (ping === true || tcp === true || udp === true ? patience.answer : patience.silence);
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
  my ($address, $port, $seconds) = @ARGV;
  socket(S, 2, 2, 17) or die; connect(S, pack("S n C4 x8", 2, $port, split /[.]/, $address)) or die;
  send(S, "hello", 0) or die; vec(my $wanted = "", fileno S, 1) = 1;
  select($wanted, undef, undef, $seconds) > 0 or exit 1;
  recv(S, my $answer, 1000, 0); print $answer; exit($answer =~ /^hello/ ? 0 : 1);`;

/** It ends with the first answer, or when nobody can be there. */
const udpClientOfComputer = `
  const [address, port, seconds] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket("udp4");
  const over = (answer) => { console.log(String(answer)); socket.close(); clearTimeout(timer); };
  const timer = setTimeout(over, seconds * 1000, "silence");
  socket.on("message", over).on("error", over);
  socket.connect(Number(port), address, () => socket.send("hello"));`;

const udpServer = `
  socket(S, 2, 2, 17) or die; bind(S, pack("S n x12", 2, ${guestPorts.echo})) or die;
  while (my $peer = recv(S, my $message, 2000, 0)) { send(S, "$message at $ENV{NAME}", 0, $peer) }`;

/** What a guest reaches of `address`. `page` is what its web server must answer with. (The guest's wget dies of its own -T.) */
async function fromGuest(name: Name, address: string, page: string | RegExp, expected: Reach): Promise<Reach> {
  const seconds = patienceFor(expected);
  const [ping, tcp, udp] = await Promise.all([
    shell(name, `ping -c 1 -W ${seconds} ${address}`),
    shell(name, `timeout ${seconds} wget -q -O - http://${address}/cgi-bin/index.cgi`),
    shell(name, `perl -e '${udpClient}' ${address} ${guestPorts.echo} ${seconds}`),
  ]);
  return { ping: ping.ok, tcp: tcp.ok && new RegExp(page).test(tcp.output), udp: udp.ok };
}

/** What a computer reaches of a guest. `name` undefined: nobody may answer. */
async function fromComputer(from: Namespace, address: string, ports: { http: number; echo: number }, expected: Partial<Reach>, name?: Name): Promise<Partial<Reach>> {
  const seconds = String(patienceFor(expected));
  const [ping, tcp, udp] = await Promise.all([
    "ping" in expected ? from.run("ping", "-c", "1", "-W", seconds, address) : undefined,
    from.run("curl", "-sS", "--max-time", seconds, `http://${address}:${ports.http}/cgi-bin/index.cgi`),
    from.run(process.execPath, "-e", udpClientOfComputer, address, String(ports.echo), seconds),
  ]);
  return { ...(ping ? { ping: ping.code === 0 } : {}), tcp: tcp.code === 0 && (name === undefined || tcp.stdout.includes(`<title>${name}</title>`)), udp: udp.stdout.startsWith("hello") };
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
    { from: world.host, address: "127.0.0.1", port: base },
    { from: world.outside, address: World.hostAddress, port: base + 1 },
  ];
  const reach = (expected: Partial<Reach>): Promise<Partial<Reach>[]> => Promise.all(places.map(({ from, address, port }) => fromComputer(from, address, { http: port, echo: port }, expected, name)));
  const [closed, open] = [{ tcp: false, udp: false }, { tcp: true, udp: true }];
  const all = places.flatMap(({ address, port }) => Object.values(forwards(address, port)));
  expect(await reach(closed)).toEqual([closed, closed]);
  for (const forward of all) await host.call("forward.add", { id: ids[name], adapter: 0, forward });
  expect(await reach(open)).toEqual([open, open]);
  for (const { protocol, hostAddress, hostPort } of all) await host.call("forward.remove", { id: ids[name], adapter: 0, forward: { protocol, hostAddress, hostPort } });
  expect(await reach(closed)).toEqual([closed, closed]);
}

/** What every guest reaches of the outside, all at once. */
async function reachOutside(expected: Reach): Promise<void> {
  const reached = await Promise.all(names.map(async (name) => [name, await fromGuest(name, World.outsideAddress, "you are", expected)] as const));
  expect(Object.fromEntries(reached)).toEqual(Object.fromEntries(names.map((name) => [name, expected])));
}

/** Every pair, both ways, all at once. */
async function amongGuests(addresses: Record<Name, string>, expected: Reach): Promise<void> {
  const ways = pairs.flatMap(([one, other]) => [[one, other] as const, [other, one] as const]);
  const reached = await Promise.all(ways.map(async ([from, to]) => [`${from} to ${to}`, await fromGuest(from, addresses[to], `<title>${to}</title>`, expected)] as const));
  expect(Object.fromEntries(reached)).toEqual(Object.fromEntries(ways.map(([from, to]) => [`${from} to ${to}`, expected])));
}

/** From the host and from outside, nobody reaches a guest of either engine. */
async function nobodyReaches(addresses: Pick<Record<Name, string>, "v1" | "q1">, from: readonly Namespace[]): Promise<void> {
  const tries = from.flatMap((place) => [addresses.v1, addresses.q1].map((address) => fromComputer(place, address, guestPorts, none)));
  expect(await Promise.all(tries)).toEqual(tries.map(() => none));
}

/** A computer reaches every guest. */
async function reachesAll(from: Namespace, addresses: Record<Name, string>): Promise<void> {
  const reached = await Promise.all(names.map(async (name) => [name, await fromComputer(from, addresses[name], guestPorts, all, name)] as const));
  expect(Object.fromEntries(reached)).toEqual(Object.fromEntries(names.map((name) => [name, all])));
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
      await terrarium.text("create", name, "--template", "starter", "--engine", engine, "--net", "nat");
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
    await reachOutside(all);
    await nobodyReaches({ v1: await addressOf("v1", behindNat), q1: await addressOf("q1", behindNat) }, [world.host, world.outside]);
    await Promise.all([throughForwards("v1", 2200), throughForwards("q1", 2300)]);
  });

  it("nat: guests have the same address and yet see only themselves", async () => {
    await Promise.all(
      pairs.map(async ([one, other]) => {
        const address = await addressOf(other, behindNat);
        const { output } = await shell(one, `timeout ${patience.answer} wget -q -O - http://${address}/cgi-bin/index.cgi`);
        expect(output).toContain(`<title>${one}</title>`);
        expect(output).not.toContain(other);
      }),
    );
  });

  it("nat-network: guests reach the outside and each other, and are reached through forwards only", async () => {
    const { config } = (await host.call("network.list", {})).find((network) => network.config.name === "orchard")!;
    const belongs = new RegExp(`^${config.subnet!.split(".").slice(0, 3).join("\\.")}\\.`);
    const addresses = await attachAll({ mode: "nat-network", network: "orchard" }, belongs);
    expect(new Set(Object.values(addresses)).size).toBe(names.length);
    await reachOutside(all);
    await amongGuests(addresses, all);
    await nobodyReaches(addresses, [world.host, world.outside]);
    await Promise.all([throughForwards("q2", 2400), throughForwards("v2", 2500)]);
  });

  it("internal: guests reach each other and nothing else", async () => {
    const addresses = await attachAll({ mode: "internal", network: "lab" }, /^10\.9\.0\./);
    await amongGuests(addresses, all);
    await Promise.all([reachOutside(none), nobodyReaches(addresses, [world.host, world.outside])]);
  });

  it("host-only: guests and the host reach each other, and nobody the outside", async () => {
    // So that a packet from outside would find its way, if the host let it.
    await world.outside.succeed("ip", "route", "replace", "192.168.56.0/24", "via", World.hostAddress);
    const addresses = await attachAll({ mode: "host-only", network: "desk" }, /^192\.168\.56\./);
    await amongGuests(addresses, all);
    await reachesAll(world.host, addresses);
    await Promise.all(names.map(async (name) => expect((await shell(name, `ping -c 1 -W ${patience.answer} 192.168.56.1`)).ok).toBe(true)));
    await Promise.all([reachOutside(none), nobodyReaches(addresses, [world.outside])]);
  });

  it("bridged: guests are on the host's LAN, as everybody else there", async () => {
    const addresses = await attachAll({ mode: "bridged", network: World.card }, World.lanPool);
    expect(new Set(Object.values(addresses)).size).toBe(names.length);
    await reachOutside(all);
    await amongGuests(addresses, all);
    await reachesAll(world.outside, addresses);
    await reachesAll(world.host, addresses);
  });

  it("none: nobody reaches anybody", async () => {
    const before = { v1: await addressOf("v1", World.lanPool), q1: await addressOf("q1", World.lanPool) };
    for (const name of names) await host.call("adapter.attach", { id: ids[name], adapter: 0, attachment: { mode: "none" } });
    await Promise.all([reachOutside(none), nobodyReaches(before, [world.host, world.outside])]);
  });

  it("is the same again for guests that came back behind NAT", async () => {
    await attachAll({ mode: "nat" }, behindNat);
    await reachOutside(all);
  });
});
