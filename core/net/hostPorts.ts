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
    program: { node: process.execPath, env: asNode(process.env), script: join(dirname(__filename), "netHelper.cjs") },
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

/**
 * What makes this executable run JavaScript once more. It is what made it do so here: the versions, which tell Electron
 * from Node elsewhere, do not name Electron in a worker thread (seen in 25).
 */
function asNode({ ELECTRON_RUN_AS_NODE: given }: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  return given === undefined ? {} : { ELECTRON_RUN_AS_NODE: given };
}

/** The fast loop watches these descriptors itself. An error is heard of by reading. */
function watcherOf(reactor: EpollReactor): DescriptorWatcher {
  return { watch: (descriptor, handler) => reactor.watch(descriptor, { readable: () => handler.readable(), writable: () => handler.writable(), failed: () => handler.readable() }) };
}
