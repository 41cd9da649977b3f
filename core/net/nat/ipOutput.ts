import type { Ipv4Address } from "../wire/addresses";

/**
 * Where the gateway's protocols put packets for the guests. Packets are written in place, behind their Ethernet and IPv4
 * headers, into a batch that leaves at the end of the turn:
 *
 *   const at = output.begin(from, to, IpProtocol.udp, length);
 *   ... write `length` bytes into output.buffer at `at` ...
 *   output.end();
 */
export interface IpOutput {
  /** The largest payload of an IPv4 packet that goes out in one piece, bytes: the MTU less the IPv4 header. */
  readonly maxPayload: number;
  /** Valid after `begin`, until `end`: it may be another one next time. */
  readonly buffer: Uint8Array;
  /**
   * Room for a packet with `length` bytes of payload; returns where they belong in `buffer`. A payload beyond
   * `maxPayload` goes out in fragments (RFC 791, 3.2). A packet to a station whose MAC address is not known yet waits
   * for it a moment, or is dropped.
   */
  begin(from: Ipv4Address, to: Ipv4Address, protocol: number, length: number, options?: { readonly ttl?: number; readonly service?: number; readonly dontFragment?: boolean }): number;
  end(): void;
  /**
   * Whether the port towards a guest takes packets as fast as they come; true also where that is not known. What is sent
   * all the same may be lost. Without it, always.
   */
  writable?(to: Ipv4Address): boolean;
}

/** What a protocol may reach, decided in one place. */
export interface NatPolicy {
  /** Where on the host's side a guest's packet to `destination` goes; or that it must not go there. */
  route(destination: Ipv4Address): { readonly address: Ipv4Address } | { readonly refused: "prohibited" };
}

/** A conversation that passes a gateway, for people. */
export interface FlowInfo {
  /** Unique in its gateway, not used again. */
  readonly id: number;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** `out`: the guest began it; `in`: it came through a port forward. */
  readonly direction: "out" | "in";
  readonly guestAddress: Ipv4Address;
  readonly guestPort: number;
  readonly remoteAddress: Ipv4Address;
  readonly remotePort: number;
  /** RFC 9293 3.3.2, in lower case, of the guest's side ("established"); of UDP and ICMP "open". */
  readonly state: string;
  /** Payload from the guest and to it, bytes. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** By the reactor's clock, milliseconds. */
  readonly startedAt: number;
  readonly lastAt: number;
}
