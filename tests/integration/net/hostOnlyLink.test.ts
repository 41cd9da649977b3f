import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useDriver } from "../../support/bundledDriver";
import { Link } from "../../support/links";
import { connectNamespaces, Namespace, serveEchoes } from "../../support/namespaces";
import { useTemporaryFolder } from "../../support/temporaryFolder";

/** What runs in a namespace. */
async function pids(namespace: Namespace): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ip", ["netns", "pids", namespace.name]);
  return stdout.split("\n").filter((line) => line !== "").map(Number);
}

/** The kernel of one namespace is the host, that of the other the guest. */
describe("a host-only network's interface", () => {
  const folder = useTemporaryFolder();
  const driver = useDriver(join(__dirname, "../../support/linkDriver.ts"));
  let host: Namespace;
  let guest: Namespace;
  let link: Link;
  let card: Link;

  beforeEach(async () => {
    host = await Namespace.create("h");
    guest = await Namespace.create("g");
    const socket = join(folder.path, "net.sock");
    link = await Link.start(host, driver.path, ["host-only", "Lab No. 1", "192.168.56.1", "24"], socket);
    card = await Link.start(guest, driver.path, ["guest", "card", "192.168.56.100", "24"], socket);
  });

  afterEach(async () => {
    await host.dispose();
    await guest.dispose();
  });

  it("has the host's address, and guests and host reach each other", async () => {
    const [shown] = JSON.parse(await host.succeed("ip", "-json", "address", "show", "dev", link.name)) as [{ mtu: number; flags: string[]; addr_info: { local: string; prefixlen: number }[] }];
    expect(shown.mtu).toBe(1500);
    expect(shown.flags).toContain("UP");
    expect(shown.addr_info).toContainEqual(expect.objectContaining({ local: "192.168.56.1", prefixlen: 24, broadcast: "192.168.56.255" }));
    expect(link.name).toMatch(/^tt-labno1-[0-9a-f]{4}$/);
    expect((await host.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "192.168.56.100")).stdout).toContain(" 3 received");
    expect((await guest.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "192.168.56.1")).stdout).toContain(" 3 received");
    await serveEchoes(host);
    expect(await guest.succeed("curl", "-sS", "--max-time", "20", "http://192.168.56.1/")).not.toBe("");
  });

  it("leads no further than to the host, also where the host forwards packets", async () => {
    const outside = await Namespace.create("o");
    try {
      // A host with containers: it forwards, whoever is outside has it for a gateway, and a new interface forwards too.
      await host.succeed("sysctl", "-qw", "net.ipv4.ip_forward=1");
      await link.close();
      await card.close();
      await connectNamespaces(host, outside, "lan0");
      await host.succeed("ip", "address", "add", "198.51.100.2/24", "dev", "lan0");
      await outside.succeed("ip", "address", "add", "198.51.100.1/24", "dev", "lan0");
      await outside.succeed("ip", "route", "add", "default", "via", "198.51.100.2");
      const socket = join(folder.path, "forwarding.sock");
      link = await Link.start(host, driver.path, ["host-only", "Lab No. 1", "192.168.56.1", "24"], socket);
      card = await Link.start(guest, driver.path, ["guest", "card", "192.168.56.100", "24"], socket);
      await guest.succeed("ip", "route", "add", "default", "via", "192.168.56.1");
      const ping = async (to: string): Promise<string> => (await guest.run("ping", "-c", "2", "-i", "0.2", "-W", "2", to)).stdout;
      expect(await ping("198.51.100.2")).toContain(" 2 received");
      expect(await ping("198.51.100.1")).toContain(" 0 received");
      // It is the interface that keeps it, not the way there.
      await host.succeed("sysctl", "-qw", `net.ipv4.conf.${link.name}.forwarding=1`);
      expect(await ping("198.51.100.1")).toContain(" 2 received");
    } finally {
      await outside.dispose();
    }
  });

  it("is gone with its addresses and routes when it is closed, and its helper has ended", async () => {
    expect(await host.succeed("ip", "route")).toContain(link.name);
    expect(await link.close()).toBe(0);
    expect(await host.succeed("ip", "-brief", "link")).not.toContain("tt-");
    expect(await host.succeed("ip", "route")).toBe("");
    await expect.poll(() => pids(host)).toEqual([]);
  });

  it("is gone when its process is killed", async () => {
    // It and its helper are all that runs in there.
    expect(await pids(host)).toHaveLength(2);
    process.kill(link.pid, "SIGKILL");
    await expect.poll(() => host.succeed("ip", "-brief", "link")).not.toContain("tt-");
    await expect.poll(() => pids(host)).toEqual([]);
  });

  it("says that somebody removed it", async () => {
    await host.succeed("ip", "link", "delete", link.name);
    expect((await link.says("problem")).problem).toMatchObject({ code: "not-found", message: expect.stringContaining("somebody removed it") as string });
  });

  it("carries frames again after it was switched off and on", async () => {
    await host.succeed("ip", "link", "set", link.name, "down");
    expect((await guest.run("ping", "-c", "1", "-W", "1", "192.168.56.1")).code).not.toBe(0);
    await host.succeed("ip", "link", "set", link.name, "up");
    expect((await guest.run("ping", "-c", "1", "-W", "5", "192.168.56.1")).stdout).toContain(" 1 received");
  });

  it("refuses to take an interface that is there already", async () => {
    await expect(Link.start(host, driver.path, ["host-only", "Lab No. 1", "192.168.57.1", "24"], join(folder.path, "net.sock"))).rejects.toThrow(/"locked".*one of that name already/);
    expect((await host.run("ping", "-c", "1", "-W", "5", "192.168.56.100")).stdout).toContain(" 1 received");
    expect(await card.close()).toBe(0);
  });
});
