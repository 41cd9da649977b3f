/*
 * A NAT network as the fabric makes it, on a loop of its choice, with a TAP as the cable of its one guest; to be run in
 * the network namespace that is the host:
 *
 *   LOOP TAP MTU    "epoll" or "portable"
 *
 * The TAP is made in here, and may be moved to the namespace that is the guest: its descriptor goes on working. Standard
 * output tells what happens as JSON lines; each JSON line on standard input is a `DriverWish`, answered with one.
 */
import { createInterface } from "node:readline";
import { createLog } from "../../../core/base/log";
import type { ForwardSpec } from "../../../core/net/control";
import { openEpollIo, openPortableIo } from "../../../core/net/io";
import { PortableDescriptorWatcher } from "../../../core/net/link/descriptorWatcher";
import { Interfaces } from "../../../core/net/link/interfaces";
import { loadKernelCalls } from "../../../core/net/link/kernelCalls";
import { openLinkIo } from "../../../core/net/link/linkIo";
import { TapPort } from "../../../core/net/link/tap";
import { Network } from "../../../core/net/network";
import { ResolverFile } from "../../../core/net/services/hostResolver";
import { parseMac } from "../../../core/net/wire/addresses";
import { BadLine, type LineConditions } from "./badLine";
import { CapturedPort } from "./captureFile";
import { natSpec } from "./testNetwork";

export type DriverWish =
  | { readonly do: "conditions"; readonly conditions?: LineConditions }
  | { readonly do: "capture"; readonly path?: string }
  | { readonly do: "counters" | "flows" | "close" }
  | { readonly do: "forward"; readonly forward: ForwardSpec["forward"] };

export const guestMac = "52:54:00:00:00:0a";

function main(loop: string, tapName: string, mtu: number): void {
  const say = (words: unknown): boolean => process.stdout.write(`${JSON.stringify(words)}\n`);
  const log = createLog((line) => process.stderr.write(`${line}\n`));
  const kernel = loadKernelCalls();
  const descriptor = new Interfaces(kernel).do({ do: "tap", name: tapName, mac: guestMac, mtu });
  if (descriptor === undefined) throw new Error("no TAP was made");

  const epoll = loop === "epoll" ? openEpollIo(log) : undefined;
  const io = epoll ?? openPortableIo(log);
  const watcher = epoll?.reactor ?? new PortableDescriptorWatcher(kernel, log);
  const tap = new TapPort(openLinkIo({ kernel, watcher, reactor: io.reactor, log }), descriptor, (reason) => say({ vanished: reason }));
  const captured = new CapturedPort(tap);
  const line = new BadLine(captured, io.reactor, 4711);

  const network = new Network(
    { ...natSpec, mtu, nat: { hostLoopback: true, hostNetworks: true } },
    {
      reactor: io.reactor,
      sockets: io.sockets,
      log,
      leases: { load: () => [], save: () => undefined },
      resolver: new ResolverFile(io.reactor),
      hostNetworks: () => [],
      otherSegments: () => [],
      refused: (_forward, reason) => say({ refused: reason }),
      changed: () => undefined,
    },
  );
  const mac = parseMac(guestMac) ?? 0;
  const plug = network.attach(line, { id: "guest:0", mac, hostname: "guest" });

  const fulfil = (wish: DriverWish): unknown => {
    switch (wish.do) {
      case "conditions":
        line.conditions = wish.conditions;
        return {};
      case "capture":
        captured.capture(wish.path);
        return {};
      case "counters":
        return tap.counters;
      case "flows":
        return network.flows().map(({ protocol, state, sentBytes, receivedBytes }) => ({ protocol, state, sentBytes, receivedBytes }));
      case "forward":
        network.applyForwards([{ id: "f", segment: natSpec.id, mac: guestMac, machine: "guest", forward: wish.forward, target: "running" }]);
        return {};
      case "close":
        network.dispose();
        plug.dispose();
        line.dispose();
        if (watcher instanceof PortableDescriptorWatcher) watcher.dispose();
        io.stop();
        process.stdin.destroy();
        return {};
    }
  };
  createInterface(process.stdin).on("line", (text) => say({ answer: fulfil(JSON.parse(text) as DriverWish) }));
  io.run();
  say({ ready: true });
}

const [loop = "", tapName = "", mtu = ""] = process.argv.slice(2);
if (loop !== "") main(loop, tapName, Number(mtu));
