import { mkdir } from "node:fs/promises";
import type { NetworkInterfaceInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import type { FabricMachine } from "../../../core/machine/fabricState";
import { Networking } from "../../../core/machine/networking";
import { lookAgainMs } from "../../../core/net/link/hostCards";
import { makeConfig } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const address = (text: string, prefix: number): NetworkInterfaceInfo => ({ address: text, netmask: "", mac: "", internal: false, family: "IPv4", cidr: `${text}/${prefix}` });

/** The fabric is pretended, and so are the host's interfaces. */
describe("networks on a host that comes to be on another one", () => {
  const folder = useTemporaryFolder();
  let interfaces: Record<string, NetworkInterfaceInfo[]>;
  let networking: Networking;
  /** The next look at the host's networks, which comes when a test says so. */
  let look: () => void;
  let notices: string[];
  let machines: FabricMachine[];

  beforeEach(async () => {
    interfaces = { eth0: [address("192.0.2.7", 24)] };
    const system = systemClock();
    const clock: Clock = {
      now: () => system.now(),
      monotonic: () => system.monotonic(),
      schedule(ms, callback) {
        if (ms !== lookAgainMs) return system.schedule(ms, callback);
        look = callback;
        return { dispose: () => undefined };
      },
    };
    notices = [];
    machines = [];
    networking = new Networking({
      ...{ home: folder.path, runDir: folder.path, log: silentLog, clock },
      runtime: { node: process.execPath, env: {}, fabric: join(__dirname, "../../support/fakeFabric.mjs") },
      hostView: { platform: "linux", classNet: join(folder.path, "class"), procNet: join(folder.path, "proc"), interfaces: () => interfaces },
      machines: () => machines,
      statusChanged: () => undefined,
      notify: ({ message }) => notices.push(message),
    });
    await networking.open();
  });
  afterEach(() => networking.close());

  it("show the collision, and say that they have changed, without being asked", async () => {
    await networking.registry.create({ name: "lab", mode: "nat-network", subnet: "10.77.0.0/24" });
    let changes = 0;
    networking.onDidChange(() => changes++);
    interfaces = { ...interfaces, wlan0: [address("10.77.0.9", 16)] };
    await expect
      .poll(() => {
        look();
        return changes;
      })
      .toBe(1);
    expect(networking.list()[0]?.problem).toMatchObject({ code: "invalid-input", message: expect.stringContaining("wlan0") as string });
  });

  it("show the collision to whoever asks right away", async () => {
    await networking.registry.create({ name: "lab", mode: "nat-network", subnet: "10.77.0.0/24" });
    interfaces = { ...interfaces, wlan0: [address("10.77.0.9", 16)] };
    await networking.refresh();
    expect(networking.list()[0]?.problem).toMatchObject({ message: expect.stringContaining("wlan0") as string });
  });

  it("are not in the way of the private network of a machine that starts then", async () => {
    await mkdir(join(folder.path, "logs"));
    const config = makeConfig({ name: "web", adapters: [{ mac: "52:54:00:00:00:01", attachment: { mode: "nat" }, plugged: true }] });
    interfaces = { ...interfaces, wlan0: [address("10.0.2.7", 24)] };
    machines = [{ id: config.id, name: "web", config, state: "running", sockets: ["/run/net0.sock"] }];
    await networking.update();
    expect(notices).toEqual([expect.stringContaining("The private network of adapter 0 of web is 10.1.2.0/24")]);
    // It lives, and keeps what it has.
    interfaces = { ...interfaces, wlan1: [address("10.1.2.7", 24)] };
    await networking.update();
    expect(notices).toHaveLength(1);
    machines = [];
    await networking.update();
  });
});
