import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { useDriver } from "../support/bundledDriver";
import { World } from "../support/namespaces";
import { KernelGuest, type TransferEnd } from "../support/net/kernelGuest";

/** Each way. TERRARIUM_LONG_BYTES: less, to try it out. */
const bytes = Number(process.env["TERRARIUM_LONG_BYTES"] ?? 10_000_000_000);

/** A line within one machine: its delay is that of the turns, and what comes late is late by a turn of the clock. */
const badLine = { loss: 0.01, late: 0.01, lateMs: 1, delayMs: 0 };

describe("the gateway, with the kernel of a namespace as its guest", () => {
  const driver = useDriver(join(__dirname, "../support/net/gatewayDriver.ts"));
  let world: World;
  let guest: KernelGuest;

  beforeAll(async () => {
    world = await World.create();
    guest = await KernelGuest.create(world.host, driver.path, "epoll", 1500);
  });

  afterAll(async () => {
    await guest?.namespace.dispose();
    await world.dispose();
  });

  it.each([
    ["up", "over a good line", undefined],
    ["down", "over a good line", undefined],
    ["up", "over a line that loses one of a hundred frames and reorders", badLine],
    ["down", "over a line that loses one of a hundred frames and reorders", badLine],
  ] as const)(`carries ${bytes / 1e9} GB %s %s, unchanged`, async (way, _line, conditions) => {
    await guest.wish({ do: "conditions", ...(conditions ? { conditions } : {}) });
    const began = performance.now();
    const { client, server } = await guest.transfer({ [way]: bytes });
    const [from, to]: [TransferEnd, TransferEnd] = way === "up" ? [client, server] : [server, client];
    expect(from.sent.bytes).toBe(bytes);
    expect(to.got).toEqual(from.sent);
    console.log(`${way}: ${(bytes / 1000 / (performance.now() - began)).toFixed(1)} MB/s`);
  });
});
