import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { electronRuntime } from "../../build/launcher/electronRuntime.mjs";
import { FabricUnderTest } from "../support/net/fabricUnderTest";
import { Namespace } from "../support/namespaces";
import { useTemporaryFolder } from "../support/temporaryFolder";

/** In the app the fabric and its helper run by Electron's executable, which is a browser when it is not told otherwise. */
describe("a host-only network of the app", () => {
  const folder = useTemporaryFolder();
  let host: Namespace;
  let fabric: FabricUnderTest;

  beforeEach(async () => {
    host = await Namespace.create("h");
    const { executable } = await electronRuntime();
    fabric = await FabricUnderTest.start(folder.path, ":", [...host.prefix, "env", "ELECTRON_RUN_AS_NODE=1", executable]);
  });

  afterEach(async () => {
    await fabric.dispose();
    await host.dispose();
  });

  it("puts its interface on the host, with its address", async () => {
    await fabric.plug({ id: "network:lab", label: "the network lab", mode: "host-only", subnet: "10.77.0.0/24", gateway: "10.77.0.1", mtu: 1500 }, "52:54:00:00:00:0a");
    await expect.poll(() => host.succeed("ip", "-brief", "address"), { timeout: 30_000 }).toContain("10.77.0.1/24");
  });
});
