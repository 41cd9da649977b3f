import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MachineInfo } from "../../core/contract/model";
import { TestHost } from "../support/host";

/** A machine with the starter guest behind NAT, and what becomes of its network. */
describe("a starter guest behind NAT", () => {
  let test: TestHost;
  let web: Server;
  let webPort: number;
  let machine: MachineInfo;

  beforeAll(async () => {
    web = createServer((_, response) => response.end("from the host\n"));
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    webPort = (web.address() as AddressInfo).port;
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
    expect(await test.shell(machine.id, `wget -q -T 5 -O - http://10.0.2.2:${webPort}/ 2>&1; echo $?`)).toMatch(/^1$/m);
    await test.host.call("adapter.set", { id: machine.id, adapter: 0, nat: { hostLoopback: true, hostNetworks: true } });
    expect(await test.shell(machine.id, `wget -q -T 10 -O - http://10.0.2.2:${webPort}/ 2>&1; echo $?`)).toBe("from the host\n0");
  });
});
