import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { useDriver } from "../../support/bundledDriver";
import { connectNamespaces, Namespace, World } from "../../support/namespaces";
import { KernelGuest, streamPeer, Talker, type TransferEnd } from "../../support/net/kernelGuest";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const megabyte = 1_000_000;

/** Both ways arrived whole. */
function expectWhole({ client, server }: { client: TransferEnd; server: TransferEnd }, bytes: { up: number; down: number }): void {
  expect(client.sent.bytes).toBe(bytes.up);
  expect(server.got).toEqual(client.sent);
  expect(server.sent.bytes).toBe(bytes.down);
  expect(client.got).toEqual(server.sent);
}

/** What tshark finds wrong in a capture, and how many packets it read. */
async function faultsIn(path: string, home: string): Promise<{ faults: string; packets: number }> {
  const checks = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE"].flatMap((option) => ["-o", option]);
  const wrong = "_ws.malformed or ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0 or icmp.checksum.status == 0";
  const tshark = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)("tshark", ["-n", "-r", path, ...checks, "-d", `tcp.port==${KernelGuest.streamPort},data`, ...args], { env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home }, maxBuffer: 64 << 20 })).stdout;
  // What a packet that an ICMP error quotes lacks is not a fault of ours.
  return { faults: await tshark("-Y", `(${wrong}) and not icmp.type == 3 and not icmp.type == 11`), packets: (await tshark("-T", "fields", "-e", "frame.number")).split("\n").length };
}

const loops = ["epoll", "portable"] as const;

/** The kernel's TCP is the guest's, and that of the host's sockets: the gateway stands between the two. */
describe.each(loops)("the gateway on the %s loop, with the kernel as its guest", (loop) => {
  const folder = useTemporaryFolder();
  const driver = useDriver(join(__dirname, "../../support/net/gatewayDriver.ts"));
  let world: World;
  let guest: KernelGuest;

  beforeAll(async () => {
    world = await World.create();
    await world.host.succeed("sysctl", "-qw", "net.ipv4.ping_group_range=0 0");
    guest = await KernelGuest.create(world.host, driver.path, loop, 1500);
  });

  afterAll(async () => {
    await guest?.namespace.dispose();
    await world.dispose();
  });

  it("carries 50 MB each way at once, unchanged", async () => {
    const bytes = { up: 50 * megabyte, down: 50 * megabyte };
    expectWhole(await guest.transfer(bytes), bytes);
  });

  it("carries 50 MB each way in packets of 65,520 bytes", async () => {
    const wide = await KernelGuest.create(world.host, driver.path, loop, 65_520, "tt-wide", KernelGuest.streamPort + 1);
    const bytes = { up: 50 * megabyte, down: 50 * megabyte };
    expectWhole(await wide.transfer(bytes), bytes);
    const { receivedFrames, sentFrames } = await wide.wish<{ receivedFrames: number; sentFrames: number }>({ do: "counters" });
    expect(Math.max(receivedFrames, sentFrames)).toBeLessThan(15_000);
    expect(await wide.dispose()).toBe(0);
  });

  it.each(["up", "down"] as const)("carries what is sent the other way after the end of the stream %s", async (first) => {
    const bytes = { up: 3 * megabyte, down: 2 * megabyte };
    expectWhole(await guest.transfer({ ...bytes, first }), bytes);
  });

  it("hands on a reset of the host", async () => {
    expect(await guest.ask({ do: "reset", by: "server" }).says("saw", "failed")).toEqual({ saw: "ECONNRESET" });
  });

  it("hands on a reset of the guest", async () => {
    guest.ask({ do: "reset", by: "client" });
    expect(await guest.server.says("saw")).toEqual({ saw: "ECONNRESET" });
  });

  it("refuses a port on which nobody listens", async () => {
    expect(await guest.ask({ do: "transfer" }, KernelGuest.gateway, 7999).says("failed", "sent")).toEqual({ failed: "ECONNREFUSED" });
  });

  it.each(["up", "down"] as const)("holds what is sent %s while its reader has stopped, and carries on with it", async (pause) => {
    const bytes = { up: 10 * megabyte, down: 10 * megabyte };
    const client = guest.ask({ do: "transfer", ...bytes, pause });
    const reader = pause === "down" ? client : guest.server;
    await reader.says("paused");
    // The other way is done; this one has come to a stop with both windows full, until the reader goes on.
    const way = async (): Promise<{ stopped: number; other: number }> => {
      const [flow] = (await guest.wish<Flow[]>({ do: "flows" })).filter((one) => one.protocol === "tcp" && one.state !== "time-wait");
      return pause === "down" ? { stopped: flow?.receivedBytes ?? 0, other: flow?.sentBytes ?? 0 } : { stopped: flow?.sentBytes ?? 0, other: flow?.receivedBytes ?? 0 };
    };
    await expect.poll(async () => (await way()).other, { timeout: 20_000 }).toBeGreaterThanOrEqual(10 * megabyte);
    expect((await way()).stopped).toBeLessThan(10 * megabyte);
    reader.tell("go on");
    const said = { client: await client.says<TransferEnd>("sent"), server: await guest.server.says<TransferEnd>("sent") };
    expectWhole(said, bytes);
  });

  it("carries 200 connections at once", async () => {
    expect(await guest.ask({ do: "transfer", up: 20_000, down: 20_000, connections: 200 }).says("whole")).toEqual({ whole: 200, wrong: [] });
  });

  it("carries streams whole over a line that loses one of a hundred frames, reorders and delays", async () => {
    await guest.wish({ do: "conditions", conditions: { loss: 0.01, late: 0.02, lateMs: 4, delayMs: 10 } });
    const bytes = { up: 2 * megabyte, down: 2 * megabyte };
    expectWhole(await guest.transfer(bytes), bytes);
    expect((await guest.wish<{ dropped: { condition: number } }>({ do: "counters" })).dropped.condition).toBeGreaterThan(10);
    await guest.wish({ do: "conditions" });
  });

  it("goes on when a guest comes back that was away for many retransmissions", async () => {
    const before = await lost();
    const client = guest.ask({ do: "transfer", up: 5 * megabyte, down: 20 * megabyte, pause: "down" });
    await client.says("paused");
    await guest.wish({ do: "conditions", conditions: { loss: 1, late: 0, lateMs: 0, delayMs: 0 } });
    client.tell("go on");
    await expect.poll(lost, { timeout: 20_000, interval: 100 }).toBeGreaterThan(before + 8);
    await guest.wish({ do: "conditions" });
    expectWhole({ client: await client.says<TransferEnd>("sent"), server: await guest.server.says<TransferEnd>("sent") }, { up: 5 * megabyte, down: 20 * megabyte });
  });

  it("leads a connection through a forward to the guest", async () => {
    await guest.wish({ do: "forward", forward: { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 7100, guestPort: 7200 } });
    const server = new Talker(guest.namespace.spawn(process.execPath, streamPeer, "serve", "0.0.0.0", "7200"));
    await server.says("ready");
    const bytes = { up: 5 * megabyte, down: 5 * megabyte };
    const client = new Talker(world.host.spawn(process.execPath, streamPeer, "ask", "127.0.0.1", "7100", JSON.stringify({ do: "transfer", ...bytes })));
    expectWhole({ client: await client.says<TransferEnd>("sent", "failed"), server: await server.says<TransferEnd>("sent") }, bytes);
  });

  it("answers pings, and is a hop on the way", async () => {
    expect(await guest.namespace.succeed("ping", "-c", "2", "-i", "0.2", "-W", "5", KernelGuest.gateway)).toContain(" 2 received");
    const hops = await guest.namespace.succeed("traceroute", "-n", "-q", "1", "-w", "2", "-m", "3", World.outsideAddress);
    expect(hops).toMatch(new RegExp(`^ 1  ${KernelGuest.gateway.replaceAll(".", "\\.")}  `, "m"));
    // The runtime's sockets tell of no ICMP errors and send no pings: that far only the fast loop sees.
    if (loop === "portable") return;
    expect(hops).toMatch(new RegExp(`^ 2  ${World.outsideAddress.replaceAll(".", "\\.")}  `, "m"));
    expect(await guest.namespace.succeed("ping", "-c", "2", "-i", "0.2", "-W", "5", World.outsideAddress)).toContain(" 2 received");
  });

  // The runtime's sockets tell of no ICMP errors.
  const seesErrors = loop === "epoll";
  if (seesErrors) it("shows traceroute every hop up to a computer behind a router, by UDP and by pings", async () => {
    const far = await Namespace.create("f");
    try {
      await connectNamespaces(world.outside, far, "far0");
      await world.outside.succeed("ip", "address", "add", "203.0.113.1/24", "dev", "far0");
      await far.succeed("ip", "address", "add", "203.0.113.2/24", "dev", "far0");
      await far.succeed("ip", "route", "add", "default", "via", "203.0.113.1");
      await world.outside.succeed("sysctl", "-qw", "net.ipv4.ip_forward=1");
      // Routers say only so many errors a second.
      for (const router of [world.outside, far]) await router.succeed("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0");
      for (const by of ["-U", "-I"]) {
        const said = await guest.namespace.succeed("traceroute", by, "-n", "-q", "1", "-w", "10", "-m", "6", "203.0.113.2");
        const hops = [...said.matchAll(/^ *(\d+) +(\S+)/gm)].map(([, number, address]) => `${number} ${address}`);
        expect({ by, hops }).toEqual({ by, hops: [`1 ${KernelGuest.gateway}`, `2 ${World.outsideAddress}`, "3 203.0.113.2"] });
      }
    } finally {
      await far.dispose();
    }
  });

  it("carries datagrams, names, and the news of a closed port", async () => {
    const capture = join(folder.path, "guest.pcap");
    await guest.wish({ do: "capture", path: capture });
    const words = Array.from({ length: 20 }, (_, index) => `${index}:${"x".repeat(index * 70)}`);
    expect(await guest.datagrams(World.outsideAddress, World.ports.echo, words)).toEqual(words.map((word) => `${word} from ${World.hostAddress}`));
    expect(await guest.namespace.succeed("getent", "ahostsv4", World.name)).toContain(World.outsideAddress);
    expect((await guest.namespace.run("getent", "ahostsv4", "nobody.invalid")).code).not.toBe(0);
    expect(await guest.namespace.succeed("curl", "-sS", "--max-time", "20", `http://${World.name}/`)).toBe(`you are ${World.hostAddress}\n`);
    if (loop === "epoll") await expect(guest.datagrams(World.outsideAddress, 9, ["anybody?"])).rejects.toThrow("ECONNREFUSED");
    expectWhole(await guest.transfer({ up: megabyte, down: megabyte }), { up: megabyte, down: megabyte });
    await guest.wish({ do: "capture" });
    const { faults, packets } = await faultsIn(capture, folder.path);
    expect(faults).toBe("");
    // All data was in frames of the MTU; how many ACKs there are beside it is the kernel's affair.
    expect(packets).toBeGreaterThan((2 * megabyte) / 1460);
  });

  it("ends when it is told, with nothing left open", async () => {
    expect(await guest.wish<Flow[]>({ do: "flows" })).not.toContainEqual(expect.objectContaining({ state: "established" }));
    expect(await guest.dispose()).toBe(0);
  });

  async function lost(): Promise<number> {
    return (await guest.wish<{ dropped: { condition?: number } }>({ do: "counters" })).dropped.condition ?? 0;
  }
});

interface Flow {
  readonly protocol: string;
  readonly state: string;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}
