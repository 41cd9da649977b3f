import { afterEach, describe, expect, it } from "vitest";
import type { SegmentSpec } from "../../../core/net/control";
import { broadcastMac } from "../../../core/net/wire/addresses";
import { DhcpOperation, DhcpType, writeDhcp } from "../../../core/net/wire/dhcp";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { FabricUnderTest, type MachineEnd } from "../../support/net/fabricUnderTest";
import { echoFrame, ip, ipv4Frame, udpFrame, udpPayload, type Station } from "../../support/net/frames";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const wide: SegmentSpec = {
  id: "network:lab",
  label: "the network lab",
  mode: "nat-network",
  subnet: "10.8.0.0/16",
  gateway: "10.8.0.1",
  dns: "10.8.0.1",
  mtu: 1500,
  dhcp: { first: "10.8.0.100", last: "10.8.255.254", reservations: [], leaseSeconds: 3600 },
  nat: { hostLoopback: true, hostNetworks: true },
};
const gateway: Station = { mac: 0x5255_0a08_0001, address: ip("10.8.0.1") };
const bad: Station = { mac: 0x5254_0000_000a, address: ip("10.8.0.50") };
const good: Station = { mac: 0x5254_0000_000b, address: ip("10.8.0.51") };
const token = Buffer.from("answered all the same");

/** One guest means no good; what the real process does for the others. */
describe("a guest that means no good", () => {
  const folder = useTemporaryFolder();
  let fabric: FabricUnderTest;
  afterEach(async () => fabric.dispose());

  /** The gateway answers the other guest. */
  async function answered(other: MachineEnd): Promise<void> {
    const before = other.received.length;
    await other.send(echoFrame(good, gateway, 1, 1, token));
    await expect.poll(() => other.received.includes(token, before), { timeout: 5000 }).toBe(true);
  }

  it("takes no descriptors that the fabric itself needs", async () => {
    fabric = await FabricUnderTest.start(folder.path, "ulimit -n 300");
    const attacker = await fabric.plug(wide, "52:54:00:00:00:0a");
    // All at once: none of them is open yet when the next is asked for.
    await attacker.send(...Array.from({ length: 500 }, (_, index) => udpFrame(bad, 2000 + index, gateway, 9, token)));
    await expect.poll(async () => (await fabric.client.call("flows", { segment: wide.id }, 5000)).length).toBeGreaterThan(100);
    // A machine, and whatever else takes a descriptor, such as a look at the host's networks.
    const other = await fabric.plug(wide, "52:54:00:00:00:0b");
    expect((await fabric.client.call("flows", { segment: wide.id }, 5000)).length).toBeGreaterThan(100);
    await answered(other);
    await expect(fabric.client.call("cards", {}, 5000)).resolves.not.toHaveLength(0);
    expect(fabric.process.exitCode).toBeNull();
    // Each flow that had no socket is a line, and lines are rationed.
    expect(fabric.output.split("\n").length).toBeLessThan(250);
  });

  it("does not hold the others up by asking for addresses", async () => {
    fabric = await FabricUnderTest.start(folder.path);
    const attacker = await fabric.plug(wide, "52:54:00:00:00:0a", "any");
    const other = await fabric.plug(wide, "52:54:00:00:00:0b");
    const clients = (from: number, count: number): Uint8Array[] => Array.from({ length: count }, (_, index) => request(from + index, ip("10.8.0.100") + from + index));
    for (let from = 0; from < 10_000; from += 100) await attacker.send(...clients(from, 100));
    await expect.poll(async () => (await fabric.client.call("leases", { segment: wide.id }, 20_000)).length, { timeout: 20_000 }).toBeGreaterThan(300);
    // As long as it is answered it goes on.
    for (let round = 0; round < 100; round++) await attacker.send(...clients(0, 100));
    await answered(other);
  });
});

function request(client: number, address: number): Uint8Array {
  const clientMac = 0x0200_0000_0000 + client;
  const bytes = new Uint8Array(600);
  const end = writeDhcp(bytes, 0, bytes.length, {
    ...{ operation: DhcpOperation.request, type: DhcpType.request, transaction: 1, seconds: 0, broadcast: false, clientAddress: 0, yourAddress: 0, nextServer: 0, relay: 0 },
    ...{ clientMac, options: { requestedAddress: address } },
  });
  return ipv4Frame(clientMac, broadcastMac, { source: 0, destination: 0xffff_ffff, protocol: IpProtocol.udp }, udpPayload(0, 0xffff_ffff, 68, 67, bytes.subarray(0, end)));
}
