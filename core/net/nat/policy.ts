import { inSubnet, isLoopbackIpv4, isMulticastIpv4, type Ipv4Address, type Subnet } from "../wire/addresses";
import type { NatPolicy } from "./ipOutput";

export const hostLoopback: Ipv4Address = 0x7f00_0001;

const nobody: Subnet = { base: 0, prefix: 8 };
const linkLocal: Subnet = { base: 0xa9fe_0000, prefix: 16 };
const future: Subnet = { base: 0xf000_0000, prefix: 4 };

/**
 * What the guests of a NAT network may reach. The gateway's address stands for the host's loopback, where that is
 * allowed; the rest goes to where it says, unless it is an address that no router passes on (RFC 1812, 4.2.2.11 and
 * 5.3.7), another segment's, or a network of the host that is closed.
 */
export class GuestReach implements NatPolicy {
  constructor(
    private readonly own: { readonly subnet: Subnet; readonly gateway: Ipv4Address },
    /** May change while flows are open. */
    public settings: { readonly hostLoopback: boolean; readonly hostNetworks: boolean },
    private readonly around: {
      /** Networks the host is connected to. Asked each time: hosts move. */
      networksOfHost(): readonly Subnet[];
      /** Networks of other segments. */
      otherSegments(): readonly Subnet[];
    },
  ) {}

  route(destination: Ipv4Address): { readonly address: Ipv4Address } | { readonly refused: "prohibited" } {
    if (destination === this.own.gateway) return this.settings.hostLoopback ? { address: hostLoopback } : prohibited;
    if (inSubnet(this.own.subnet, destination) || isLoopbackIpv4(destination) || isMulticastIpv4(destination)) return prohibited;
    if (inSubnet(nobody, destination) || inSubnet(linkLocal, destination) || inSubnet(future, destination)) return prohibited;
    if (this.around.otherSegments().some((subnet) => inSubnet(subnet, destination))) return prohibited;
    if (!this.settings.hostNetworks && this.around.networksOfHost().some((subnet) => inSubnet(subnet, destination))) return prohibited;
    return { address: destination };
  }
}

const prohibited = { refused: "prohibited" } as const;
