import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MachineInfo } from "../../../core/contract/model";
import { fakeRuntime, TestHost } from "../../support/host";

const ssh = { protocol: "tcp" as const, hostAddress: "127.0.0.1", hostPort: 2222, guestPort: 22 };

/** Machines and the fabric are pretended; everything between is real. */
describe("networks of machines", () => {
  let folder: string;
  let test: TestHost;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-fake-"));
    test = await TestHost.open({ runtime: await fakeRuntime(folder) });
  });
  afterEach(async () => {
    // The pretended fabric ends when nothing is left to do.
    for (const { id, config } of await test.host.call("machine.list", {})) for (const [adapter, { forwards = [] }] of (config?.adapters ?? []).entries()) for (const forward of forwards) await test.host.call("forward.remove", { id, adapter, forward });
    await test.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const started = async (name: string, adapters = [{ attachment: { mode: "nat" as const } }]): Promise<MachineInfo> => {
    const { id } = await test.create(name, { adapters });
    await test.start(id);
    return test.until(id, ({ network }) => network?.every(({ connected }) => connected) === true);
  };
  const notices = (): string[] => test.events.flatMap((event) => (event.type === "notice" ? [event.notice.message] : []));

  it("are told of in the machine that lives, and not when it is off", async () => {
    const { id, network } = await started("web");
    expect(network).toEqual([{ adapter: 0, connected: true, address: "10.0.2.15", forwards: [] }]);
    await test.host.call("machine.powerOff", { id });
    expect(await test.get(id)).not.toHaveProperty("network");
  });

  it("take a forward only when it can listen, whether the machine lives or not", async () => {
    const { id } = await started("web");
    expect((await test.host.call("forward.add", { id, adapter: 0, forward: ssh })).network?.[0]?.forwards).toEqual([{ forward: ssh }]);
    // The pretended fabric has a program on port 666.
    await expect(test.host.call("forward.add", { id, adapter: 0, forward: { ...ssh, hostPort: 666 } })).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("devil") as string });
    expect((await test.get(id)).config?.adapters[0]?.forwards).toEqual([ssh]);
    await expect(test.host.call("forward.add", { id, adapter: 0, forward: ssh })).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("web") as string });
    await expect(test.host.call("forward.remove", { id, adapter: 0, forward: { ...ssh, protocol: "udp" } })).rejects.toMatchObject({ code: "not-found", remedy: expect.stringContaining("tcp:127.0.0.1:2222") as string });
    expect((await test.host.call("forward.remove", { id, adapter: 0, forward: ssh })).config?.adapters[0]?.forwards).toEqual([]);
  });

  it("find a port of this computer that is taken also while no fabric runs", async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
    const { id } = await test.create("off", { adapters: [{ attachment: { mode: "nat" } }] });
    await expect(test.host.call("forward.add", { id, adapter: 0, forward: { ...ssh, hostPort: (holder.address() as AddressInfo).port } })).rejects.toMatchObject({ code: "locked" });
    await new Promise((resolve) => holder.close(resolve));
  });

  it("tell once of a forward that cannot listen, and the machine starts all the same", async () => {
    const { id } = await test.create("web", { adapters: [{ attachment: { mode: "nat" } }] });
    // The port is free now, and taken when the fabric comes to listen.
    await test.host.call("machine.set", { id, patch: { adapters: [{ ...(await test.get(id)).config!.adapters[0]!, forwards: [{ ...ssh, hostPort: 666 }] }] } });
    await test.start(id);
    const { network } = await test.until(id, ({ network: adapters }) => adapters?.[0]?.forwards[0]?.problem !== undefined);
    expect(network?.[0]?.forwards[0]?.problem).toMatchObject({ code: "locked" });
    await test.host.call("machine.pause", { id });
    await test.host.call("machine.resume", { id });
    expect(notices().filter((message) => message.includes("Port 666 is not forwarded to web"))).toHaveLength(1);
  });

  it("refuse forwards where they lead nowhere, and settings of a NAT that is not the adapter's", async () => {
    const { id } = await test.create("lone", { adapters: [{ attachment: { mode: "internal", network: "wire" } }] });
    await expect(test.host.call("forward.add", { id, adapter: 0, forward: ssh })).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("an internal network") as string });
    await expect(test.host.call("forward.add", { id, adapter: 3, forward: ssh })).rejects.toMatchObject({ code: "not-found" });
    await expect(test.host.call("adapter.set", { id, adapter: 0, nat: { hostLoopback: true, hostNetworks: true } })).rejects.toMatchObject({ code: "illegal-state" });
    await expect(test.host.call("forward.add", { id, adapter: 0, forward: { ...ssh, hostPort: 65_535, count: 2 } })).rejects.toMatchObject({ code: "illegal-state" });
  });

  it("come to be with the first machine that is attached, and stay while one is", async () => {
    const { id } = await test.create("lone", { adapters: [{ attachment: { mode: "internal", network: "wire" } }] });
    expect(await test.host.call("network.list", {})).toMatchObject([{ config: { name: "wire", mode: "internal" }, adapters: [{ id, adapter: 0 }] }]);
    await expect(test.host.call("network.delete", { network: "wire" })).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("lone") as string });
    await test.host.call("adapter.attach", { id, adapter: 0, attachment: { mode: "none" } });
    await test.host.call("network.delete", { network: "wire" });
    expect(await test.host.call("network.list", {})).toEqual([]);
    await expect(test.host.call("adapter.attach", { id, adapter: 0, attachment: { mode: "nat-network", network: "attic" } })).rejects.toMatchObject({ code: "not-found" });
    expect(test.events.filter(({ type }) => type === "networks").length).toBeGreaterThanOrEqual(2);
  });

  it("change under a machine that lives: its cable, its rate and what it may reach", async () => {
    const { id } = await started("web");
    await test.host.call("network.create", { spec: { name: "lab", mode: "nat-network" } });
    await test.host.call("adapter.attach", { id, adapter: 0, attachment: { mode: "nat-network", network: "lab" } });
    const changed = await test.host.call("adapter.set", { id, adapter: 0, rate: { toGuest: 1_000_000 }, macPolicy: "own" });
    expect(changed.config?.adapters[0]).toMatchObject({ attachment: { mode: "nat-network", network: "lab" }, plugged: true, rate: { toGuest: 1_000_000 }, macPolicy: "own" });
    expect((await test.host.call("adapter.set", { id, adapter: 0, rate: null, macPolicy: "any" })).config?.adapters[0]).not.toHaveProperty("rate");
    await test.host.call("machine.setLink", { id, adapter: 0, up: false });
    await test.until(id, ({ network }) => network?.[0]?.connected === false);
  });

  it("say who has an address, and that there is nothing to ask where no fabric runs", async () => {
    const { id, config } = await started("web");
    expect(await test.host.call("network.leases", { of: { id, adapter: 0 } })).toMatchObject([{ address: "10.0.2.15" }]);
    expect(config?.adapters[0]?.attachment).toEqual({ mode: "nat" });
    await test.host.call("machine.powerOff", { id });
    expect(await test.host.call("network.flows", { of: { id, adapter: 0 } })).toEqual([]);
    await expect(test.host.call("network.leases", { of: { network: "gone" } })).rejects.toMatchObject({ code: "not-found" });
  });
});
