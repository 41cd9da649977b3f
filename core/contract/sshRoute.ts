import type { MachineConfig, MachineInfo } from "./model";
import type { PortForward } from "./network";

/** How a guest's port 22 is reached from this computer, and who logs in. */
export type SshRoute =
  /** A port forward leads there. */
  | { readonly by: "forward"; readonly address: string; readonly port: number; readonly user: string | undefined; readonly starter: boolean }
  /** One has to be made, on this adapter. */
  | { readonly by: "new-forward"; readonly adapter: number; readonly user: string | undefined; readonly starter: boolean }
  /** This computer is on the guest's network. */
  | { readonly by: "address"; readonly address: string; readonly port: number; readonly user: string | undefined; readonly starter: boolean };

export const sshPort = 22;

/** Where a machine's host key is known, in its folder. */
export const knownHostsFile = "ssh/known_hosts";

/** What a machine is called there: it is known by what it is, and not by a port of this computer, which may lead to another machine tomorrow. */
export function hostKeyAlias(machineId: string): string {
  return `terrarium-${machineId}`;
}

/** Who logs in to a guest; undefined where only the person knows. */
export function guestUser(config: MachineConfig | undefined): string | undefined {
  return config?.boot.kind === "starter" ? "root" : config?.login?.user;
}

/** The way to a running guest by ssh, or why there is none and what to do. `user` is undefined where only the person knows. */
export function sshRoute(machine: Pick<MachineInfo, "state" | "config" | "network" | "guest" | "name">): SshRoute | { readonly refused: string; readonly remedy: string } {
  const { config, state } = machine;
  if (state !== "running" || config === undefined) return { refused: `${machine.name} is not running.`, remedy: state === "paused" ? "Resume it first." : "Start it first." };
  const who = { user: guestUser(config), starter: config.boot.kind === "starter" };
  const connected = config.adapters.map((adapter, index) => ({ adapter, index, status: machine.network?.find((other) => other.adapter === index) })).filter(({ adapter }) => adapter.plugged);
  const behindNat = connected.filter(({ adapter: { attachment } }) => attachment.mode === "nat" || attachment.mode === "nat-network");
  for (const { adapter, status } of behindNat) {
    for (const forward of adapter.forwards ?? []) {
      const known = status?.forwards.find((other) => other.forward.hostPort === forward.hostPort && other.forward.hostAddress === forward.hostAddress && other.forward.protocol === forward.protocol);
      const port = known?.problem === undefined ? portLeadingTo(sshPort, forward) : undefined;
      if (port !== undefined) return { by: "forward", address: forward.hostAddress === "0.0.0.0" ? "127.0.0.1" : forward.hostAddress, port, ...who };
    }
  }
  // A direct way needs nothing to be made.
  for (const { adapter, index, status } of connected) {
    if (adapter.attachment.mode !== "host-only" && adapter.attachment.mode !== "bridged") continue;
    const address = status?.address ?? machine.guest.addresses.find((entry) => entry.adapter === index && entry.address.includes("."))?.address;
    if (address !== undefined) return { by: "address", address, port: sshPort, ...who };
  }
  const [first] = behindNat;
  if (first) return { by: "new-forward", adapter: first.index, ...who };
  if (connected.some(({ adapter }) => adapter.attachment.mode === "host-only" || adapter.attachment.mode === "bridged")) return { refused: `${machine.name} has no address yet.`, remedy: "Wait until its guest has asked for one." };
  return { refused: `No cable of ${machine.name} leads to this computer.`, remedy: "Plug an adapter into NAT, a NAT network or a host-only network." };
}

function portLeadingTo(guestPort: number, forward: PortForward): number | undefined {
  const at = guestPort - forward.guestPort;
  return forward.protocol === "tcp" && at >= 0 && at < (forward.count ?? 1) ? forward.hostPort + at : undefined;
}
