import { mkdir, symlink, writeFile } from "node:fs/promises";
import type { NetworkInterfaceInfo } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { followHostNetworks, hostCards, hostNetworks, lookAgainMs, type HostNetworks, type HostView } from "../../../../core/net/link/hostCards";
import { ManualReactor } from "../../../../core/net/reactor";
import { formatIpv4, formatSubnet } from "../../../../core/net/wire/addresses";
import { useTemporaryFolder } from "../../../support/temporaryFolder";

const address = (text: string, prefix: number): NetworkInterfaceInfo => ({ address: text, netmask: "", mac: "", internal: false, family: "IPv4", cidr: `${text}/${prefix}` });

describe("the host's cards and networks", () => {
  const folder = useTemporaryFolder();
  let interfaces: Record<string, NetworkInterfaceInfo[]> = {};

  function view(platform: NodeJS.Platform = "linux"): HostView {
    return { platform, classNet: join(folder.path, "class"), procNet: join(folder.path, "proc"), interfaces: () => interfaces };
  }

  /** An interface as sysfs shows it. */
  async function card(name: string, type: number, parts: readonly string[] = [], flags = "0x1003"): Promise<void> {
    const place = join(folder.path, "class", name);
    await mkdir(place, { recursive: true });
    await writeFile(join(place, "type"), `${type}\n`);
    await writeFile(join(place, "flags"), `${flags}\n`);
    for (const part of parts) await mkdir(join(place, part));
  }

  async function routeTable(...lines: string[]): Promise<void> {
    await mkdir(join(folder.path, "proc"), { recursive: true });
    await writeFile(join(folder.path, "proc", "route"), ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT", ...lines].join("\n"));
  }

  it("tells what kind each is, and why it cannot be bridged", async () => {
    await card("eth0", 1, ["device"]);
    await card("wlan0", 1, ["device", "phy80211"]);
    await card("br0", 1, ["bridge"]);
    await card("veth1", 1, [], "0x1002");
    await card("eth1", 1, ["device"]);
    await symlink("../br0", join(folder.path, "class", "eth1", "master"));
    await card("lo", 772);
    await card("wg0", 65534);
    await card("tt-lab-0001", 1);
    await writeFile(join(folder.path, "class", "bonding_masters"), "");
    interfaces = { eth0: [address("192.0.2.7", 24)], wlan0: [address("198.51.100.7", 24)] };
    const cards = await hostCards(view());
    expect(cards.map(({ name, kind, up, problem }) => [name, kind, up, problem?.code])).toEqual([
      ["br0", "Linux bridge", true, undefined],
      ["eth0", "Ethernet", true, undefined],
      ["eth1", "Ethernet", true, "unsupported"],
      ["lo", "Loopback", true, "unsupported"],
      ["veth1", "Virtual", false, undefined],
      ["wg0", "Tunnel", true, "unsupported"],
      ["wlan0", "Wi-Fi", true, "unsupported"],
    ]);
    expect(cards.find(({ name }) => name === "eth0")?.addresses).toEqual(["192.0.2.7"]);
    expect(cards.find(({ name }) => name === "eth1")?.problem?.remedy).toBe("Choose br0.");
    expect(cards.find(({ name }) => name === "wlan0")?.problem?.remedy).toContain("forward ports from 198.51.100.7");
  });

  it("says on other systems that bridging does not work there", async () => {
    interfaces = { en0: [address("192.0.2.7", 24)] };
    const [only] = await hostCards(view("darwin"));
    expect(only).toMatchObject({ name: "en0", problem: { code: "unsupported", message: expect.stringContaining("macOS") as string } });
  });

  it("knows the networks the host is on or has routes to, and its gateways", async () => {
    interfaces = { eth0: [address("192.0.2.7", 24)], "tt-lab-0001": [address("192.168.56.1", 24)] };
    await routeTable(
      "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
      "eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0",
      "wg0\t0000090A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
      "eth0\t090200C0\t00000000\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0",
      "eth0\t0000C80A\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0",
      "tt-lab-0001\t0038A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    );
    const { networks, addresses, gateways } = await hostNetworks(view());
    expect(networks.map(({ subnet, card: name }) => `${formatSubnet(subnet)} ${name}`)).toEqual(["192.0.2.0/24 eth0", "10.9.0.0/16 wg0", "192.0.2.9/32 eth0"]);
    expect(addresses.map(({ address: mine }) => formatIpv4(mine))).toEqual(["192.0.2.7"]);
    expect(gateways.map(formatIpv4)).toEqual(["192.0.2.1"]);
    expect((await hostNetworks(view(), true)).networks.map(({ card: name }) => name)).toContain("tt-lab-0001");
  });

  it("takes the routes by which a VPN leads everywhere for what they are: default routes", async () => {
    interfaces = { eth0: [address("192.0.2.7", 24)], tun0: [address("10.8.0.6", 24)] };
    await routeTable(
      "tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0",
      "tun0\t00000080\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0",
      "tun0\t0000000A\t0100080A\t0003\t0\t0\t0\t000000FF\t0\t0\t0",
    );
    const { networks, gateways } = await hostNetworks(view());
    expect(networks.map(({ subnet }) => formatSubnet(subnet))).toEqual(["192.0.2.0/24", "10.8.0.0/24", "10.0.0.0/8"]);
    expect(gateways.map(formatIpv4)).toContain("10.8.0.1");
  });

  it("tells of a change, and of nothing else", async () => {
    interfaces = { eth0: [address("192.0.2.7", 24)] };
    await routeTable();
    const reactor = new ManualReactor();
    const told: HostNetworks[] = [];
    let looked: () => void = () => undefined;
    const watched: HostView = { ...view(), interfaces: () => (looked(), interfaces) };
    const look = async (begin: () => void): Promise<void> => {
      const seen = new Promise<void>((resolve) => (looked = resolve));
      begin();
      await seen;
    };
    const following = followHostNetworks(reactor, (networks) => told.push(networks), () => expect.unreachable("a look failed"), watched);
    await expect.poll(() => told.length).toBe(1);
    await look(() => reactor.advance(lookAgainMs));
    interfaces = { eth0: [address("192.0.2.8", 24)] };
    await expect
      .poll(() => {
        reactor.advance(lookAgainMs);
        return told.length;
      })
      .toBe(2);
    expect(formatIpv4(told[1]?.addresses[0]?.address ?? 0)).toBe("192.0.2.8");
    following.dispose();
  });

  it("stay as they were while they cannot be told, which is said once", async () => {
    interfaces = { eth0: [address("192.0.2.7", 24)] };
    await routeTable();
    const reactor = new ManualReactor();
    const told: HostNetworks[] = [];
    const failures: unknown[] = [];
    let looks = 0;
    let broken = false;
    const failing: HostView = {
      ...view(),
      interfaces: () => {
        looks++;
        if (broken) throw new Error("no descriptors are left");
        return interfaces;
      },
    };
    const following = followHostNetworks(reactor, (networks) => told.push(networks), (error) => failures.push(error), failing);
    const looked = (times: number): Promise<void> =>
      expect
        .poll(() => {
          reactor.advance(lookAgainMs);
          return looks;
        })
        .toBeGreaterThanOrEqual(times);
    await expect.poll(() => told.length).toBe(1);
    broken = true;
    await looked(looks + 3);
    expect(failures.map(String)).toEqual(["Error: no descriptors are left"]);
    broken = false;
    interfaces = { eth0: [address("192.0.2.8", 24)] };
    await looked(looks + 1);
    await expect.poll(() => told.length).toBe(2);
    following.dispose();
  });
});
