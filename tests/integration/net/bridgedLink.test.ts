import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useDriver } from "../../support/bundledDriver";
import { Link, RawGuest } from "../../support/links";
import { connectNamespaces, Namespace, serveEchoes, World } from "../../support/namespaces";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const guestAddress = "198.51.100.50";

/** A guest's kernel in a namespace, bridged with the card of the world's host. */
describe("a bridged card", () => {
  const folder = useTemporaryFolder();
  const driver = useDriver(join(__dirname, "../../support/linkDriver.ts"));
  let world: World;
  let guest: Namespace;
  let socket: string;

  beforeEach(async () => {
    socket = join(folder.path, "net.sock");
    world = await World.create();
    guest = await Namespace.create("g");
  });

  afterEach(async () => {
    await world.dispose();
    await guest.dispose();
  });

  async function bridge(card: string): Promise<{ link: Link; card: Link }> {
    const link = await Link.start(world.host, driver.path, ["bridged", card], socket);
    return { link, card: await Link.start(guest, driver.path, ["guest", "card", guestAddress, "24"], socket) };
  }

  const pings = async (from: Namespace, to: string): Promise<string> => (await from.run("ping", "-c", "2", "-i", "0.2", "-W", "5", to)).stdout;
  const routesToGuests = async (): Promise<string> => (await world.host.succeed("ip", "route")).split("\n").filter((line) => line.includes("tt-")).join("\n");

  it("puts a guest on the LAN: it and the outside reach each other", async () => {
    await bridge(World.card);
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
    expect(await pings(world.outside, guestAddress)).toContain(" 2 received");
    expect(await guest.succeed("curl", "-sS", "--max-time", "20", `http://${World.outsideAddress}/`)).not.toBe("");
  });

  it("finishes what senders on the host's kernel left to their card: checksums are right and no frame is longer than the wire takes", async () => {
    const { link, card } = await bridge(World.card);
    // A place of its buffer is as long as what it keeps of a frame at most: by default there are places for a few frames only.
    const capture = guest.spawn("tcpdump", "-n", "-e", "-vv", "-s", "2000", "-B", "16384", "-i", card.name, "-Q", "in", "--immediate-mode", "-l", "tcp or udp");
    let said = "";
    capture.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const listening = new Promise<void>((resolve) => capture.stderr?.on("data", (chunk: Buffer) => /listening on/.test(chunk.toString()) && resolve()));
    await listening;
    await guest.succeed("curl", "-sS", "--max-time", "60", "-o", "/dev/null", `http://${World.outsideAddress}/bytes/4000000`);
    await expect.poll(() => said.split("\n").length, { timeout: 30_000 }).toBeGreaterThan(2000);
    expect(said).toContain("(correct)");
    expect(said).not.toContain("incorrect");
    const longest = Math.max(...[...said.matchAll(/ethertype IPv4 \(0x0800\), length (\d+)/g)].map((match) => Number(match[1])));
    expect(longest).toBe(1514);
    // Frames that were cut are counted as what they became.
    expect((await link.counters()).receivedFrames).toBeGreaterThan(2700);
    expect((await link.counters()).dropped).toEqual({});
  });

  it("receives neither what it sent nor what the host sends, as from the wire", async () => {
    const { link } = await bridge(World.card);
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
    const before = await link.counters();
    // Broadcasts that nobody answers.
    for (const sender of [guest, world.host]) await sender.run("ping", "-b", "-c", "20", "-i", "0.01", "-w", "1", "198.51.100.255");
    const after = await link.counters();
    expect(after.sentFrames - before.sentFrames).toBeGreaterThanOrEqual(20);
    expect(after.receivedFrames - before.receivedFrames).toBeLessThan(15);
  });

  it("lets the host and the guest reach each other, and the LAN sees the host at its card alone", async () => {
    const { link } = await bridge(World.card);
    expect(await pings(guest, World.hostAddress)).toContain(" 2 received");
    expect(await pings(world.host, guestAddress)).toContain(" 2 received");
    await serveEchoes(world.host);
    expect(await guest.succeed("curl", "-sS", "--max-time", "20", `http://${World.hostAddress}/`)).not.toBe("");
    await serveEchoes(guest);
    expect(await world.host.succeed("curl", "-sS", "--max-time", "20", `http://${guestAddress}/`)).not.toBe("");
    expect(await routesToGuests()).toMatch(new RegExp(`^${guestAddress} dev tt-lan0-[0-9a-f]{4} .*src ${World.hostAddress}`));
    // The host and the rest of the LAN go on as before.
    expect(await pings(world.host, World.outsideAddress)).toContain(" 2 received");
    const [{ address: mac }] = JSON.parse(await world.host.succeed("ip", "-json", "link", "show", World.card)) as [{ address: string }];
    expect(await world.outside.succeed("ip", "neighbour", "show", World.hostAddress)).toContain(mac);
    expect(await link.close()).toBe(0);
    expect(await world.host.succeed("ip", "-brief", "link")).not.toContain("tt-");
    expect(await routesToGuests()).toBe("");
  });

  it("keeps a guest's first words to the host until the host knows the way back, however long that takes", async () => {
    const { link, card } = await bridge(World.card);
    await expect.poll(() => world.host.succeed("ip", "-brief", "link")).toContain("tt-lan0-");
    await guest.succeed("sysctl", "-q", "-w", `net.ipv4.neigh.${card.name}.mcast_solicit=60`);
    // Whoever makes routes is held up.
    const children = (await readFile(`/proc/${link.pid}/task/${link.pid}/children`, "utf8")).trim().split(" ");
    expect(children).toHaveLength(1);
    process.kill(Number(children[0]), "SIGSTOP");
    const pinged = pings(guest, World.hostAddress);
    const neighbour = async (): Promise<string> => guest.succeed("ip", "neighbour", "show", World.hostAddress);
    await expect.poll(neighbour).toContain("INCOMPLETE");
    // The question has come when what the same guest asked after it is answered.
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
    expect(await neighbour()).toContain("INCOMPLETE");
    expect(await routesToGuests()).toBe("");
    process.kill(Number(children[0]), "SIGCONT");
    expect(await pinged).toContain(" 2 received");
    expect(await routesToGuests()).toContain(guestAddress);
  });

  it("does so where the host checks the way back strictly", async () => {
    for (const name of ["all", "default"]) await world.host.succeed("sysctl", "-q", "-w", `net.ipv4.conf.${name}.rp_filter=1`);
    await bridge(World.card);
    expect(await pings(guest, World.hostAddress)).toContain(" 2 received");
  });

  it("leads no address to a guest that the host's routes go through", async () => {
    const { card } = await bridge(World.card);
    expect(await pings(guest, World.hostAddress)).toContain(" 2 received");
    await guest.succeed("ip", "address", "add", `${World.outsideAddress}/24`, "dev", card.name);
    await guest.run("ping", "-c", "1", "-W", "1", "-I", World.outsideAddress, World.hostAddress);
    expect(await routesToGuests()).not.toContain(World.outsideAddress);
    expect(await routesToGuests()).toContain(guestAddress);
  });

  it("carries frames as they are, with one tag, with two, and of types nobody knows", async () => {
    await bridge(World.card);
    const farSocket = join(folder.path, "far.sock");
    await Link.start(world.outside, driver.path, ["bridged", World.card], farSocket);
    const near = await RawGuest.connect(socket);
    const far = await RawGuest.connect(farSocket);
    try {
      const headers = ["88b50001", "8100a005 88b50002", "88a82064 8100e007 88b50003", "0027 aaaa03000000"];
      for (const [from, to] of [[near, far], [far, near]] as const) {
        for (const header of headers) {
          // A broadcast of some station, with 100 bytes of its own.
          const frame = Buffer.concat([Buffer.from(`ffffffffffff02aabbccddee${header.replace(" ", "")}`, "hex"), Buffer.alloc(100, header)]);
          from.send(frame);
          expect((await to.frameLike(frame.subarray(6, 12))).toString("hex")).toBe(frame.toString("hex"));
        }
      }
    } finally {
      near.close();
      far.close();
    }
  });

  it("says that the card vanished, and uses it again when it is back", async () => {
    const { link } = await bridge(World.card);
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
    await world.host.succeed("ip", "link", "delete", World.card);
    expect((await link.says("problem")).problem).toMatchObject({ code: "not-found", message: `The card ${World.card} is gone.` });
    await connectNamespaces(world.host, world.outside, World.card);
    await world.outside.succeed("ip", "address", "add", `${World.outsideAddress}/24`, "dev", World.card);
    expect((await link.says("problem")).problem).toBeNull();
    // The outside's end of the new cable has another MAC address than it had.
    await guest.succeed("ip", "neighbour", "flush", "all");
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
  });

  it("says that the card is switched off, and goes on when it is on again", async () => {
    const { link } = await bridge(World.card);
    await world.host.succeed("ip", "link", "set", World.card, "down");
    expect((await link.says("problem")).problem).toMatchObject({ message: `The card ${World.card} is switched off.` });
    await world.host.succeed("ip", "link", "set", World.card, "up");
    expect((await link.says("problem")).problem).toBeNull();
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
  });

  it("is a port of the bridge where the card is one", async () => {
    await world.host.succeed("ip", "link", "add", "br0", "type", "bridge");
    await world.host.succeed("ip", "address", "del", `${World.hostAddress}/24`, "dev", World.card);
    await world.host.succeed("ip", "link", "set", World.card, "master", "br0");
    await world.host.succeed("ip", "address", "add", `${World.hostAddress}/24`, "dev", "br0");
    for (const namespace of [world.host, world.outside]) await namespace.succeed("ip", "link", "set", World.card, "mtu", "4000");
    await world.host.succeed("ip", "link", "set", "br0", "up");
    await expect(bridge(World.card)).rejects.toThrow(/belongs to br0/);
    const { link } = await bridge("br0");
    const [{ mtu }] = JSON.parse(await world.host.succeed("ip", "-json", "link", "show", "br0")) as [{ mtu: number }];
    expect(mtu).toBe(4000);
    expect(await pings(guest, World.outsideAddress)).toContain(" 2 received");
    expect(await pings(guest, World.hostAddress)).toContain(" 2 received");
    expect(await pings(world.host, guestAddress)).toContain(" 2 received");
    await world.host.succeed("ip", "link", "delete", "br0");
    expect((await link.says("problem")).problem).toMatchObject({ message: "The card br0 is gone." });
  });
});
