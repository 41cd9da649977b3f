import { connect, createServer, type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MachineInfo } from "../../core/contract/model";
import { HeldDownload } from "../support/heldDownload";
import { TestHost } from "../support/host";

/** A machine with the starter guest behind NAT, and what becomes of its network. */
describe("a starter guest behind NAT", () => {
  let test: TestHost;
  let web: HeldDownload;
  let machine: MachineInfo;

  beforeAll(async () => {
    web = await HeldDownload.open();
    test = await TestHost.open();
    machine = await test.create("natty", { adapters: [{ attachment: { mode: "nat" } }] });
    await test.start(machine.id);
    machine = await test.untilAnswering(machine.id);
  });
  afterAll(async () => {
    web.close();
    await test.dispose();
  });

  it("is given its address", async () => {
    const { network } = await test.until(machine.id, ({ network: adapters, guest }) => adapters?.[0]?.connected === true && guest.addresses.some(({ address }) => address === "10.0.2.15"));
    expect(network).toEqual([{ adapter: 0, connected: true, address: "10.0.2.15", forwards: [] }]);
  });

  it("reaches its gateway, and the host's loopback only when that is allowed", async () => {
    expect(await test.shell(machine.id, "ping -c 1 -W 5 10.0.2.2")).toContain("1 packets received");
    expect(await test.shell(machine.id, `wget -q -O - http://10.0.2.2:${web.port}/ 2>&1; echo $?`)).toMatch(/^wget: .*\n1$/);
    await test.host.call("adapter.set", { id: machine.id, adapter: 0, nat: { hostLoopback: true, hostNetworks: true } });
    expect(await test.shell(machine.id, `wget -q -O - http://10.0.2.2:${web.port}/ 2>&1; echo $?`)).toBe("from the host\n0");
  });

  it("is reached through a port forward that is added while it runs, and the port is refused when somebody has it", async () => {
    const forward = { protocol: "tcp" as const, hostAddress: "127.0.0.1", guestPort: 22 };
    await expect(test.host.call("forward.add", { id: machine.id, adapter: 0, forward: { ...forward, hostPort: web.port } })).rejects.toMatchObject({ code: "locked" });
    expect((await test.get(machine.id)).config?.adapters[0]?.forwards).toBeUndefined();
    const hostPort = await freePort();
    const { network } = await test.host.call("forward.add", { id: machine.id, adapter: 0, forward: { ...forward, hostPort } });
    expect(network?.[0]?.forwards).toEqual([{ forward: { ...forward, hostPort } }]);
    expect(await firstWords(hostPort)).toMatch(/^SSH-2\.0-/);
    await test.host.call("forward.remove", { id: machine.id, adapter: 0, forward: { protocol: "tcp", hostAddress: "127.0.0.1", hostPort } });
    await expect(firstWords(hostPort)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("goes on with a download while no host service is there", async () => {
    await test.host.call("adapter.set", { id: machine.id, adapter: 0, nat: { hostLoopback: true, hostNetworks: true } });
    await test.shell(machine.id, `(wget -q -O /tmp/file http://10.0.2.2:${web.port}/file; sha256sum /tmp/file > /tmp/sum) >/dev/null 2>&1 & echo $!`);
    await web.isHalfway;
    await test.close();
    web.release();
    await web.isOver;
    await test.reopen();
    await test.untilAnswering(machine.id);
    expect(await test.shell(machine.id, "for i in $(seq 100); do test -s /tmp/sum && break; usleep 100000; done; cut -d ' ' -f 1 /tmp/sum")).toBe(web.sha256);
    expect((await test.get(machine.id)).network?.[0]).toMatchObject({ connected: true, address: "10.0.2.15" });
  });

  it("is on another network at once when its cable is led there, has an address of its new subnet at once, and is led back", async () => {
    await test.host.call("network.create", { spec: { name: "lab", mode: "nat-network", subnet: "10.77.0.0/24" } });
    await test.host.call("adapter.attach", { id: machine.id, adapter: 0, attachment: { mode: "nat-network", network: "lab" } });
    await test.until(machine.id, ({ network, guest }) => network?.[0]?.address?.startsWith("10.77.0.") === true && guest.addresses.some(({ address }) => address.startsWith("10.77.0.")));
    const [lease] = await test.host.call("network.leases", { of: { network: "lab" } });
    expect(lease).toMatchObject({ machine: { id: machine.id, adapter: 0 } });
    await test.host.call("network.set", { network: "lab", patch: { subnet: "10.78.0.0/24" } });
    await test.until(machine.id, ({ network, guest }) => network?.[0]?.address?.startsWith("10.78.0.") === true && guest.addresses.some(({ address }) => address.startsWith("10.78.0.")) && !guest.addresses.some(({ address }) => address.startsWith("10.77.0.")));
    expect(await test.shell(machine.id, "ping -c 1 -W 5 10.78.0.1")).toContain("1 packets received");
    await expect(test.host.call("network.delete", { network: "lab" })).rejects.toMatchObject({ code: "illegal-state" });
    await test.host.call("adapter.attach", { id: machine.id, adapter: 0, attachment: { mode: "nat" } });
    await test.until(machine.id, ({ guest }) => guest.addresses.some(({ address }) => address === "10.0.2.15"));
    await test.host.call("network.delete", { network: "lab" });
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What is said first on a connection to this computer's loopback. */
function firstWords(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("data", (data: Buffer) => {
      socket.destroy();
      resolve(data.toString());
    });
    socket.once("error", reject);
    socket.once("end", () => reject(new Error("the connection ended")));
  });
}
