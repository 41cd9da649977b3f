import type { Log } from "../core/base/log";
import type { Runtime } from "../core/machine/access";
import type { HostSources } from "./host";

/**
 * Where the app's host service comes from. It is loaded when it is first needed, so that a window is there before the
 * machines' code is.
 */
export function hostSources(home: string, runtime: Runtime, log: Log): HostSources {
  return {
    async own() {
      const [{ createHost }, { serveSocket }] = await Promise.all([import("../core/machine/index"), import("../core/server/socket")]);
      const host = await createHost({ home, servedBy: "app", runtime, log: log.child("host") });
      try {
        return { host, socket: await serveSocket(host, log.child("socket")) };
      } catch (error) {
        await host.close();
        throw error;
      }
    },
    async connect() {
      const { connectHost } = await import("../core/server/client");
      return await connectHost(home);
    },
  };
}
