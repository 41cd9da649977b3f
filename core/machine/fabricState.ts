import type { Attachment, PortForward } from "../contract/network";

/** A network by its name, not a card of the host. */
export function isNamed({ mode }: Attachment): boolean {
  return mode === "nat-network" || mode === "internal" || mode === "host-only";
}

/** Guests are behind a gateway, through which ports are forwarded. */
export function isNat({ mode }: Attachment): boolean {
  return mode === "nat" || mode === "nat-network";
}

/** The fabric's name for a named network. */
export function networkSegment(name: string): string {
  return `network:${name}`;
}

/** The fabric's name for the private network of a `nat` adapter. */
export function privateSegment(machineId: string, adapter: number): string {
  return `adapter:${machineId}:${adapter}`;
}

/** Two forwards cannot be had at the same time: they listen on the same port of the same address. */
export function forwardsOverlap(one: PortForward, other: PortForward): boolean {
  if (one.protocol !== other.protocol) return false;
  if (one.hostAddress !== other.hostAddress && one.hostAddress !== everywhere && other.hostAddress !== everywhere) return false;
  return one.hostPort < other.hostPort + (other.count ?? 1) && other.hostPort < one.hostPort + (one.count ?? 1);
}

const everywhere = "0.0.0.0";
