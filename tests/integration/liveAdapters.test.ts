import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Chipset, EngineId, MachineInfo } from "../../core/contract/model";
import { machineSockets } from "../../core/engine/engine";
import { QmpClient } from "../../core/engine/qmp";
import { machineRunDir } from "../../core/machine/runDir";
import { TestHost } from "../support/host";

/** Adapters that come to a guest that runs, and go from it. */
describe.each<[EngineId, Chipset, Record<string, unknown>]>([
  ["v86", "pc", {}],
  ["qemu", "q35", { bus: "port-net1" }],
  ["qemu", "pc", { bus: "pci.0", addr: "0x19" }],
])("a machine that runs on %s with the mainboard %s", (engine, chipset, place) => {
  let test: TestHost;
  let id = "";
  const add = (): Promise<MachineInfo> => test.host.call("adapter.add", { id, attachment: { mode: "nat" } });
  const remove = (adapter: number): Promise<MachineInfo> => test.host.call("adapter.remove", { id, adapter });
  const untilAddress = (address: string): Promise<MachineInfo> => test.until(id, ({ guest, network }) => guest.addresses.some((entry) => entry.address === address) && network?.some((entry) => entry.address === address && entry.connected) === true);
  const untilWithout = (address: string): Promise<MachineInfo> => test.until(id, ({ guest }) => !guest.addresses.some((entry) => entry.address === address));
  const received = (gateway: string): Promise<string> => test.shell(id, `ping -c 1 -W 5 ${gateway} | grep -o '[0-9]* packets received'`);
  const saveAndStart = async (): Promise<void> => {
    const { job } = await test.host.call("machine.save", { id });
    await test.succeed(job);
    expect((await test.get(id)).state).toBe("saved");
    expect((await test.start(id)).startedFrom).toBe("saved");
    await test.untilAnswering(id);
  };
  /** The guest's own view: the links that are up, in the order of their slots. */
  const linksUp = (count: number): Promise<string> => test.shell(id, `until [ $(cat /sys/class/net/eth*/carrier 2>/dev/null | grep -c 1) = ${count} ]; do usleep 50000; done; for card in /sys/class/net/eth*; do [ "$(cat $card/carrier 2>/dev/null)" = 1 ] && cat $card/address; done; true`);

  beforeAll(async () => {
    test = await TestHost.open();
    ({ id } = await test.create(`live on ${engine}`, { engine, hardware: { chipset }, adapters: [{ attachment: { mode: "nat" } }] }));
    await test.start(id);
    await untilAddress("10.0.2.15");
  });
  afterAll(() => test.dispose());

  it("is given another adapter, which gets its address and reaches its gateway", async () => {
    const { config } = await add();
    expect(config?.adapters).toHaveLength(2);
    const { guest } = await untilAddress("10.0.3.15");
    expect(guest.addresses.find(({ address }) => address === "10.0.3.15")).toMatchObject({ adapter: 1 });
    expect(await linksUp(2)).toBe(config?.adapters.map(({ mac }) => mac).join("\n"));
    expect(await received("10.0.3.2")).toBe("1 packets received");
    expect(await received("10.0.2.2")).toBe("1 packets received");
  });

  it("goes on where it was saved with the adapter that came", async () => {
    await test.shell(id, "echo kept > /tmp/mark");
    await saveAndStart();
    expect(await test.shell(id, "cat /tmp/mark")).toBe("kept");
    await untilAddress("10.0.3.15");
    expect(await received("10.0.3.2")).toBe("1 packets received");
    expect(await linksUp(2)).toBe((await test.get(id)).config?.adapters.map(({ mac }) => mac).join("\n"));
  });

  it("keeps the adapter that came over another host service", async () => {
    await test.close();
    await test.reopen();
    await test.untilAnswering(id);
    await untilAddress("10.0.3.15");
    expect(await received("10.0.3.2")).toBe("1 packets received");
  });

  it("has the last adapter taken out, and no other", async () => {
    await expect(remove(0)).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("only its last adapter (1)") as string });
    await expect(remove(2)).rejects.toMatchObject({ code: "not-found" });
    const { config, network } = await remove(1);
    expect(config?.adapters).toHaveLength(1);
    expect(network).toHaveLength(1);
    expect(await linksUp(1)).toBe(config?.adapters[0]?.mac);
    await untilWithout("10.0.3.15");
    expect(await received("10.0.2.2")).toBe("1 packets received");
  });

  it("goes on where it was saved without the adapter that went, and is given it again", async () => {
    await saveAndStart();
    expect(await test.shell(id, "cat /tmp/mark")).toBe("kept");
    expect(await received("10.0.2.2")).toBe("1 packets received");
    await add();
    await untilAddress("10.0.3.15");
    expect(await received("10.0.3.2")).toBe("1 packets received");
  });

  it("is given as many as a machine may have, and not one more", async () => {
    await add();
    await add();
    await untilAddress("10.0.5.15");
    await expect(add()).rejects.toMatchObject({ message: expect.stringContaining("4 adapters") as string });
    expect((await linksUp(4)).split("\n")).toEqual((await test.get(id)).config?.adapters.map(({ mac }) => mac));
    for (const adapter of [3, 2, 1]) await remove(adapter);
    await linksUp(1);
  });

  it("has no card, or none with a link, that a host service which was killed had plugged in for no adapter", async () => {
    const { monitor, nets } = machineSockets(machineRunDir(test.host.runDir, id));
    await test.close();
    const qmp = await QmpClient.connect(monitor);
    if (engine === "v86") await qmp.execute("set_link", { name: "net1", up: true });
    else {
      await qmp.execute("netdev_add", { type: "stream", id: "cable1", server: true, addr: { type: "unix", path: nets[1] } });
      await qmp.execute("device_add", { driver: "virtio-net-pci", id: "net1", netdev: "cable1", mac: "52:54:00:00:00:99", ...place });
    }
    qmp.dispose();
    await test.reopen();
    await test.untilAnswering(id);
    await linksUp(1);
    if (engine === "qemu") await test.shell(id, "while [ -e /sys/class/net/eth1 ]; do usleep 50000; done");
    // Its place is free for an adapter.
    await add();
    await untilAddress("10.0.3.15");
  });
});
