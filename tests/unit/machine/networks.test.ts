import { readFile, readdir, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import type { NetworkConfig } from "../../../core/contract/network";
import { parseSubnet, type Subnet } from "../../../core/net/wire/addresses";
import { defaultRange, freeSubnet, gatewayOf, type HostNetwork } from "../../../core/machine/networkPlan";
import { NetworkRegistry, parseNetworks } from "../../../core/machine/networks";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const file = (): string => `${folder.path}/networks.json`;
const subnet = (text: string): Subnet => parseSubnet(text)!;
let host: HostNetwork[];
let registry: NetworkRegistry;

beforeEach(() => {
  host = [{ card: "eth0", subnet: subnet("192.168.1.0/24") }];
  registry = open();
});

function open(faults?: (step: string) => void): NetworkRegistry {
  return new NetworkRegistry({ file: file(), log: silentLog, hostNetworks: async () => host, faults });
}

describe("the networks of a home", () => {
  it("are there again after they were written", async () => {
    const lab = await registry.create({ name: "lab", mode: "nat-network" });
    await registry.create({ name: "wire", mode: "internal" });
    const later = open();
    await later.refresh();
    expect(later.list()).toEqual(registry.list());
    expect(later.get("LAB")).toEqual(lab);
  });

  it("are given what they need: a NAT network a subnet with DHCP, an internal one nothing", async () => {
    expect(await registry.create({ name: "lab", mode: "nat-network" })).toEqual({ name: "lab", mode: "nat-network", subnet: "10.10.0.0/24", dhcp: { enabled: true, reservations: [] } });
    expect(await registry.create({ name: "wire", mode: "internal" })).toEqual({ name: "wire", mode: "internal", dhcp: { enabled: false, reservations: [] } });
    expect(await registry.create({ name: "desk", mode: "host-only" })).toMatchObject({ subnet: "192.168.56.0/24" });
    expect(await registry.create({ name: "quiet", mode: "internal", dhcp: { enabled: true, reservations: [] } })).toMatchObject({ subnet: "10.11.0.0/24" });
  });

  it("cannot share a name or a subnet, and a free one is offered", async () => {
    await registry.create({ name: "lab", mode: "nat-network", subnet: "10.9.0.0/16" });
    await expect(registry.create({ name: "Lab", mode: "internal" })).rejects.toMatchObject({ code: "name-taken" });
    const refused = await registry.create({ name: "other", mode: "internal", subnet: "10.9.3.0/24" }).catch((error: unknown) => error as { message: string; remedy: string });
    expect(refused).toMatchObject({ message: expect.stringContaining("the network lab") as string, remedy: "10.10.0.0/24 is free." });
    await expect(registry.create({ name: "other", mode: "internal", subnet: "192.168.0.0/16" })).rejects.toMatchObject({ message: expect.stringContaining("the host's network on eth0") as string });
    expect(registry.list()).toHaveLength(1);
  });

  it.each([
    [{ name: "a", mode: "nat-network" as const, subnet: "10.9.0.1/24" }, "10.9.0.0/24"],
    [{ name: "a", mode: "nat-network" as const, subnet: "127.1.0.0/16" }, "private"],
    [{ name: "a", mode: "internal" as const, dhcp: { enabled: true, range: { first: "10.9.0.200", last: "10.9.0.100" }, reservations: [] }, subnet: "10.9.0.0/24" }, "round"],
    [{ name: "a", mode: "nat-network" as const, dhcp: { enabled: true, range: { first: "10.9.0.1", last: "10.9.0.100" }, reservations: [] }, subnet: "10.9.0.0/24" }, "10.9.0.2 to 10.9.0.254"],
    [{ name: "a", mode: "internal" as const, subnet: "10.9.0.0/24", dhcp: { enabled: true, reservations: [{ mac: "52:54:00:00:00:01", address: "10.8.0.5" }] } }, "10.9.0.1 to 10.9.0.254"],
    [{ name: "a", mode: "internal" as const, subnet: "10.9.0.0/24", nat: { hostLoopback: true, hostNetworks: true } }, "Leave"],
  ])("cannot be what makes no sense: %j", async (spec, remedy) => {
    await expect(registry.create(spec)).rejects.toMatchObject({ code: "invalid-input", remedy: expect.stringContaining(remedy) as string });
  });

  it("change, and lose the range of a subnet they had", async () => {
    await registry.create({ name: "lab", mode: "nat-network", subnet: "10.9.0.0/24", dhcp: { enabled: true, range: { first: "10.9.0.5", last: "10.9.0.9" }, reservations: [] } });
    const changed = await registry.set("lab", { subnet: "10.8.0.0/24", domain: "lab.test", mtu: 9000 });
    expect(changed).toMatchObject({ subnet: "10.8.0.0/24", domain: "lab.test", mtu: 9000 });
    expect(changed.dhcp.range).toBeUndefined();
    expect(await registry.set("lab", { domain: null })).not.toHaveProperty("domain");
    await expect(registry.set("lab", { subnet: null })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(registry.set("lab", { domain: "Not A Domain" })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(registry.set("lab", { subnet: "192.168.1.0/25" })).rejects.toMatchObject({ code: "invalid-input" });
  });

  it("stay while machines are attached", async () => {
    await registry.create({ name: "lab", mode: "internal" });
    await expect(registry.delete("lab", ["web", "db"])).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("web, db") as string });
    await registry.delete("lab", []);
    expect(registry.list()).toEqual([]);
    await expect(registry.delete("lab", [])).rejects.toMatchObject({ code: "not-found" });
  });

  it("come to be when somebody is attached to an internal one, and only then", async () => {
    await registry.createInternal([{ mode: "internal", network: "lab" }, { mode: "internal", network: "lab" }, { mode: "nat-network", network: "web" }, { mode: "nat" }]);
    expect(registry.list().map(({ name }) => name)).toEqual(["lab"]);
  });

  it("are not half changed when the disk fails", async () => {
    await registry.create({ name: "lab", mode: "internal" });
    const before = await readFile(file(), "utf8");
    const failing = open((step) => {
      if (step === "rename") throw Object.assign(new Error("full"), { code: "ENOSPC" });
    });
    await expect(failing.create({ name: "more", mode: "internal" })).rejects.toMatchObject({ code: "disk-full" });
    expect(await readFile(file(), "utf8")).toBe(before);
    expect(failing.list().map(({ name }) => name)).toEqual(["lab"]);
  });

  it("conflict with what the host uses by now", async () => {
    const lab = await registry.create({ name: "lab", mode: "nat-network", subnet: "10.9.0.0/24" });
    expect(registry.conflict(lab, host)).toBeUndefined();
    const problem = registry.conflict(lab, [{ card: "wlan0", subnet: subnet("10.0.0.0/8") }]);
    expect(problem).toMatchObject({ message: expect.stringContaining("wlan0") as string, remedy: expect.stringContaining("172.16.0.0/24") as string });
  });
});

describe("a VPN that routes every private subnet", () => {
  beforeEach(() => {
    host = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map((text) => ({ card: "tun0", subnet: subnet(text) }));
  });

  it("leaves those that are the person's own choice, and says what it takes of the others", async () => {
    await expect(registry.create({ name: "lab", mode: "nat-network" })).rejects.toMatchObject({ code: "unavailable", remedy: expect.stringContaining("Name a subnet") as string });
    await expect(registry.create({ name: "lab", mode: "nat-network", subnet: "10.9.0.0/24" })).rejects.toMatchObject({ code: "invalid-input", remedy: expect.stringContaining("Name another one") as string });
    const lab = await registry.create({ name: "lab", mode: "nat-network", subnet: "198.18.7.0/24" });
    expect(registry.conflict(lab, host)).toBeUndefined();
  });

  it("is a conflict of a network that was there before, to which no free subnet is named", async () => {
    const vpn = host;
    host = [];
    const lab = await registry.create({ name: "lab", mode: "nat-network" });
    expect(registry.conflict(lab, vpn)).toMatchObject({ message: expect.stringContaining("tun0") as string, remedy: "Give lab another subnet." });
  });
});

describe("networks.json", () => {
  it("is taken as people edit it", async () => {
    await registry.create({ name: "lab", mode: "internal" });
    const text = (await readFile(file(), "utf8")).replace('"lab"', '"den"');
    await writeFile(file(), text);
    let changes = 0;
    registry.onDidChange(() => changes++);
    await registry.refresh();
    expect(registry.list().map(({ name }) => name)).toEqual(["den"]);
    expect(changes).toBe(1);
  });

  it("that is broken is told and kept aside by the next change", async () => {
    await writeFile(file(), "{ half");
    await registry.refresh();
    expect(registry.problem).toMatchObject({ code: "broken", remedy: expect.stringContaining("Mend") as string });
    await registry.create({ name: "lab", mode: "internal" });
    expect(registry.problem).toBeUndefined();
    const aside = (await readdir(folder.path)).find((name) => name.includes("unusable"));
    expect(registry.list()).toHaveLength(1);
    expect(await readFile(`${folder.path}/${aside}`, "utf8")).toBe("{ half");
  });

  it("is used as far as it can be, and says what cannot", () => {
    const lab: NetworkConfig = { name: "lab", mode: "nat-network", subnet: "10.9.0.0/24", dhcp: { enabled: true, reservations: [] } };
    const bad = [{ ...lab }, { ...lab, name: "other" }, { ...lab, name: "x/y" }, { ...lab, name: "c", subnet: "10.9.9.1/24" }, 5];
    const { networks, problem } = parseNetworks(JSON.stringify({ version: 1, networks: [lab, ...bad] }), "networks.json");
    expect(networks).toEqual([lab]);
    for (const part of ["two networks are called lab", "other has the subnet of the network lab"]) expect(problem?.message).toContain(part);
  });

  it("keeps networks that are too many, says so, and takes them when there is room", async () => {
    const networks = Array.from({ length: 203 }, (_, index) => ({ name: `n${index}`, mode: "internal", dhcp: { enabled: false, reservations: [] } }));
    await writeFile(file(), JSON.stringify({ version: 1, networks }));
    await registry.refresh();
    expect(registry.list()).toHaveLength(200);
    expect(registry.problem?.message).toContain("There are 203 networks in");
    await expect(registry.create({ name: "more", mode: "internal" })).rejects.toMatchObject({ code: "insufficient-resources" });
    for (const name of ["n0", "n1", "n2"]) {
      expect(registry.problem).toBeDefined();
      await registry.delete(name, []);
      expect(registry.list()).toHaveLength(200);
    }
    expect(registry.problem).toBeUndefined();
    expect(registry.find("n202")).toBeDefined();
    expect((await readdir(folder.path)).filter((name) => name.includes("unusable"))).toEqual([]);
  });

  it("keeps words of a newer version through changes, also of the network they stand in", async () => {
    const dhcp = { enabled: true, reservations: [], leaseSeconds: 60 };
    const lab = { name: "lab", mode: "nat-network", subnet: "10.9.0.0/24", domain: "lab.test", dhcp, ipv6: { prefix: "fd00::/64" } };
    await writeFile(file(), JSON.stringify({ version: 1, comment: "ours", networks: [lab, { name: "wire", mode: "internal", dhcp: { enabled: false, reservations: [] } }] }));
    await registry.refresh();
    expect(registry.problem).toBeUndefined();
    await registry.create({ name: "more", mode: "internal" });
    await registry.set("lab", { domain: null, mtu: 9000 });
    await registry.delete("wire", []);
    const { comment, networks } = JSON.parse(await readFile(file(), "utf8")) as { comment: string; networks: unknown[] };
    expect(comment).toBe("ours");
    const { domain: _, ...rest } = lab;
    expect(networks).toEqual([{ ...rest, mtu: 9000 }, { name: "more", mode: "internal", dhcp: { enabled: false, reservations: [] } }]);
  });

  it("of a newer version is left alone", async () => {
    const text = JSON.stringify({ version: 99, networks: [] });
    await writeFile(file(), text);
    await expect(registry.create({ name: "lab", mode: "internal" })).rejects.toMatchObject({ code: "broken", remedy: expect.stringContaining("Update") as string });
    expect(await readFile(file(), "utf8")).toBe(text);
  });

  it("never makes its reader throw", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseNetworks(text, "networks.json")));
    fc.assert(fc.property(fc.array(fc.jsonValue()), (networks) => parseNetworks(JSON.stringify({ version: 1, networks }), "f").networks.length <= networks.length));
  });
});

describe("addresses of a network", () => {
  it("have a gateway first, and DHCP from the hundredth on or what there is", () => {
    expect(gatewayOf({ mode: "host-only", subnet: "192.168.56.0/24" })).toBe("192.168.56.1");
    expect(gatewayOf({ mode: "internal", subnet: "192.168.56.0/24" })).toBeUndefined();
    expect(defaultRange(subnet("192.168.56.0/24"))).toEqual({ first: "192.168.56.100", last: "192.168.56.254" });
    expect(defaultRange(subnet("10.0.0.0/30"))).toEqual({ first: "10.0.0.2", last: "10.0.0.2" });
  });

  it("are offered where nothing is", () => {
    expect(freeSubnet([{ subnet: subnet("10.0.0.0/8"), by: "x" }])).toBe("172.16.0.0/24");
    expect(freeSubnet([{ subnet: subnet("192.168.56.0/22"), by: "x" }], "host-only")).toBe("192.168.60.0/24");
    expect(() => freeSubnet([{ subnet: subnet("0.0.0.0/0"), by: "x" }])).toThrow("Every private subnet");
  });
});
