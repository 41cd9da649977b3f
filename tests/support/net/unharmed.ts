import { expect } from "vitest";
import { maxPings } from "../../../core/net/nat/icmp";
import { maxAwaited, maxNeighbours } from "../../../core/net/nat/neighbours";
import { maxFlows } from "../../../core/net/nat/udp";
import { maxAddresses } from "../../../core/net/switch";
import { echoFrame } from "./frames";
import type { FuzzedNetwork } from "./fuzzedNetwork";
import { runOf } from "./plug";
import { gateway } from "./testNetwork";

/** What was sent was dealt with, nothing is beyond its bounds, the gateway still answers, and its end leaves nothing. */
export async function expectUnharmed(fuzzed: FuzzedNetwork, frames: number): Promise<void> {
  expect(fuzzed.sent).toBeGreaterThanOrEqual(frames);
  const { network, host, reactor } = fuzzed;
  const sizes = network.sizes;
  expect(network.counters.frames).toBeGreaterThan(frames / 2);
  expect(sizes.addresses).toBeLessThanOrEqual(maxAddresses * (fuzzed.ports.length + 1));
  expect(sizes.neighbours).toBeGreaterThan(0);
  expect(sizes.neighbours).toBeLessThanOrEqual(maxNeighbours);
  expect(sizes.awaited).toBeLessThanOrEqual(maxAwaited);
  expect(sizes.udpFlows).toBeLessThanOrEqual(maxFlows);
  expect(sizes.pings).toBeLessThanOrEqual(maxPings);
  expect(sizes.fragmentBytes).toBeLessThanOrEqual(4 * 1024 * 1024);
  expect(network.leases().length).toBeLessThanOrEqual(101);
  expect(network.flows().length).toBeLessThanOrEqual(maxFlows + maxPings + 4096);
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();

  // Everything that waits for something has given up.
  reactor.advance(600_000);
  expect(network.sizes).toMatchObject({ awaited: 0, udpFlows: 0, pings: 0, fragmentBytes: 0 });

  const [guest] = fuzzed.ports;
  const before = guest?.echoReplies ?? 0;
  const run = runOf([echoFrame(guest ?? gateway, gateway, 1, 1, Uint8Array.of(1))]);
  guest?.sink?.frames(run, 0, run.length);
  reactor.endTurn();
  expect(guest?.echoReplies).toBe(before + 1);

  network.dispose();
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  expect(host.open).toBe(0);
}
