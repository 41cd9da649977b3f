import { dirname, join } from "node:path";
import type { Log } from "../base/log";
import type { HostPorts } from "./dataPlane";
import { EpollReactor, type Io } from "./io";
import type { DescriptorWatcher } from "./link/descriptorWatcher";
import { HostLinks } from "./link/hostLinks";

/** The host's interfaces for the data plane. Nothing of them is loaded before the first is opened. */
export function openHostPorts({ reactor }: Pick<Io, "reactor">, runDir: string, log: Log): HostPorts {
  const links = new HostLinks({
    reactor,
    log,
    ...(reactor instanceof EpollReactor ? { watcher: watcherOf(reactor) } : {}),
    scope: runDir,
    program: { node: process.execPath, env: process.versions["electron"] === undefined ? {} : { ELECTRON_RUN_AS_NODE: "1" }, script: join(dirname(__filename), "netHelper.cjs") },
  });
  return {
    async hostOnly(spec, changed) {
      const port = await links.hostOnly(spec);
      port.onDidVanish(changed);
      return port;
    },
    async bridged(card, changed) {
      const port = await links.bridged(card);
      port.onDidChange(changed);
      return port;
    },
    askAgain: () => links.forgetRefusal(),
    dispose: () => links.dispose(),
  };
}

/** The fast loop watches these descriptors itself. An error is heard of by reading. */
function watcherOf(reactor: EpollReactor): DescriptorWatcher {
  return { watch: (descriptor, handler) => reactor.watch(descriptor, { readable: () => handler.readable(), writable: () => handler.writable(), failed: () => handler.readable() }) };
}
