import { parseIpv4, parseMac, subnetBroadcast, subnetMask } from "../wire/addresses";
import { Errno, errnoName, writeText, type KernelCalls, type NativeMemory } from "./kernelCalls";
import type { LinkRequest, TapRequest } from "./linkRequests";
import { acknowledgement, addAddress, hostRoute, netlinkFamily, routeProtocol, setLink } from "./netlink";

/*
 * What takes CAP_NET_ADMIN and CAP_NET_RAW: making a TAP, opening a card, a route to a guest. A TAP is made so that it is
 * gone, with its addresses and routes, when the last descriptor on it is closed: nobody has to clean up. It is one with
 * virtio headers, and the kernel leaves checksums and the cutting of TCP packets to us.
 */

/** A step that the system refused. */
export class StepFailure extends Error {
  constructor(
    readonly step: string,
    readonly result: number,
  ) {
    super(`${step}: ${errnoName(result)}`);
  }

  get reason(): string {
    return errnoName(this.result);
  }
}

const openFlags = { readWrite: 0o2, nonBlocking: 0o4000, closeOnExec: 0o2000000 } as const;
const setInterface = 0x4004_54ca; // TUNSETIFF
const tapFlags = 0x2 | 0x1000 | 0x4000 | 0x8000; // IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_TUN_EXCL: never somebody else's
const setOffload = 0x4004_54d0; // TUNSETOFFLOAD
const offloads = 0x1 | 0x2 | 0x4 | 0x8; // TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN
const nameBytes = 16;

const packetFamily = 17;
const rawType = 3;
const packetLevel = 263;
const PacketOption = { addMembership: 1, auxData: 8, virtioHeader: 15, ignoreOutgoing: 23 } as const;
const promiscuous = 1;
const everyProtocol = 0x0003;
const ethernetHardware = 1;
const socketLevel = 1;
const SocketOption = { sendBufferForce: 32, receiveBufferForce: 33 } as const;
/** What a burst of the card may pile up before we come to read it, bytes. */
const receiveBuffer = 16 << 20;
const sendBuffer = 4 << 20;

export class Interfaces {
  private readonly memory: NativeMemory;

  constructor(private readonly kernel: KernelCalls) {
    this.memory = kernel.memory(4096);
  }

  /** Does what is asked. Returns the descriptor that was asked for, which the caller closes. @throws StepFailure */
  do(request: LinkRequest): number | undefined {
    switch (request.do) {
      case "tap":
        return this.makeTap(request);
      case "card":
        return this.openCard(request.name);
      case "route": {
        const tap = this.kernel.interfaceIndex(request.tap);
        if (tap === 0) throw new StepFailure(`find the interface ${request.tap}`, -Errno.noSuchDevice);
        this.route(tap, request);
        return undefined;
      }
    }
  }

  private makeTap(request: TapRequest): number {
    const { kernel, memory } = this;
    const descriptor = this.expect("open /dev/net/tun", kernel.open("/dev/net/tun", openFlags.readWrite | openFlags.nonBlocking | openFlags.closeOnExec));
    try {
      memory.bytes.fill(0, 0, 40);
      writeText(memory, 0, request.name);
      memory.view.setUint16(nameBytes, tapFlags, true);
      this.expect(`make the interface ${request.name}`, kernel.ioctl(descriptor, setInterface, memory.address));
      this.expect(`have ${request.name} leave work to us`, kernel.ioctl(descriptor, setOffload, offloads));
      const index = kernel.interfaceIndex(request.name);
      if (index === 0) throw new StepFailure(`find the interface ${request.name}`, -Errno.noSuchDevice);
      let bridge: number | undefined;
      if (request.bridge !== undefined) {
        bridge = kernel.interfaceIndex(request.bridge);
        if (bridge === 0) throw new StepFailure(`find the bridge ${request.bridge}`, -Errno.noSuchDevice);
      }
      this.tell(`set ${request.name} up`, setLink(index, { mac: parseMac(request.mac), mtu: request.mtu, withoutIpv6: request.plain === true || bridge !== undefined }));
      if (bridge !== undefined) this.tell(`make ${request.name} a port of the bridge ${request.bridge}`, setLink(index, { bridge }));
      if (request.address) {
        this.tell(`keep ${request.name} from leading further than to this computer`, setLink(index, { withoutForwarding: true }));
        const { prefix } = request.address;
        const address = parseIpv4(request.address.address) ?? 0;
        this.tell(`give ${request.name} the address ${request.address.address}/${prefix}`, addAddress(index, address, prefix, subnetBroadcast({ base: (address & subnetMask(prefix)) >>> 0, prefix })));
      }
      this.tell(`switch ${request.name} on`, setLink(index, { up: true }));
      return descriptor;
    } catch (error) {
      kernel.close(descriptor);
      throw error;
    }
  }

  /** An AF_PACKET socket on a card (packet(7)): every frame on its wire, with what the card was to finish (virtio header, VLAN tag) told beside it. */
  private openCard(name: string): number {
    const { kernel } = this;
    const index = kernel.interfaceIndex(name);
    if (index === 0) throw new StepFailure(`find the card ${name}`, -Errno.noSuchDevice);
    // With no protocol it receives nothing until it is bound to the card.
    const descriptor = this.expect(`open the card ${name}`, kernel.socket(packetFamily, rawType | openFlags.nonBlocking | openFlags.closeOnExec, 0));
    try {
      this.option(descriptor, "have VLAN tags told", packetLevel, PacketOption.auxData, 1);
      this.option(descriptor, "have unfinished checksums told", packetLevel, PacketOption.virtioHeader, 1);
      this.option(descriptor, "give it room", socketLevel, SocketOption.receiveBufferForce, receiveBuffer);
      this.option(descriptor, "give it room", socketLevel, SocketOption.sendBufferForce, sendBuffer);
      // A kernel before 4.20 does not know it; the reader drops such frames then, by their kind.
      this.memory.view.setInt32(0, 1, true);
      kernel.setsockopt(descriptor, packetLevel, PacketOption.ignoreOutgoing, this.memory.address, 4);
      this.bindTo(descriptor, name, index);
      const { view, address } = this.memory;
      view.setInt32(0, index, true);
      view.setUint16(4, promiscuous, true);
      view.setUint16(6, 0, true);
      writeText(this.memory, 8, "");
      this.expect(`make the card ${name} hear everything`, kernel.setsockopt(descriptor, packetLevel, PacketOption.addMembership, address, 16));
      return descriptor;
    } catch (error) {
      kernel.close(descriptor);
      throw error;
    }
  }

  private bindTo(descriptor: number, name: string, index: number): void {
    const { bytes, view, address } = this.memory;
    // struct sockaddr_ll: family, protocol (as on the wire), index, hardware, kind, length, address: 20 bytes
    bytes.fill(0, 0, 64);
    view.setUint16(0, packetFamily, true);
    view.setUint16(2, everyProtocol, false);
    view.setInt32(4, index, true);
    this.expect(`bind to the card ${name}`, this.kernel.bind(descriptor, address, 20));
    view.setUint32(32, 20, true);
    this.expect(`look at the card ${name}`, this.kernel.getsockname(descriptor, address, address + 32));
    if (view.getUint16(8, true) !== ethernetHardware) throw new StepFailure(`use ${name}, which carries no Ethernet`, -Errno.notSupported);
  }

  private route(tap: number, { address, source, there }: Extract<LinkRequest, { do: "route" }>): void {
    const message = hostRoute(tap, parseIpv4(address) ?? 0, parseIpv4(source) ?? 0, there);
    const step = there ? `lead ${address} to the guests` : `lead ${address} to the guests no more`;
    this.tell(step, message);
  }

  private option(descriptor: number, step: string, level: number, option: number, value: number): void {
    this.memory.view.setInt32(0, value, true);
    this.expect(step, this.kernel.setsockopt(descriptor, level, option, this.memory.address, 4));
  }

  /** Says one thing to the kernel and hears what it says to it. */
  private tell(step: string, message: Uint8Array): void {
    const { kernel, memory } = this;
    const socket = this.expect(step, kernel.socket(netlinkFamily, rawType | openFlags.closeOnExec, routeProtocol));
    try {
      memory.bytes.set(message, 0);
      this.expect(step, kernel.send(socket, memory.address, message.length, 0));
      const length = this.expect(step, kernel.recv(socket, memory.address, memory.bytes.length, 0));
      this.expect(step, acknowledgement(memory.bytes.subarray(0, length)) ?? -Errno.io);
    } finally {
      kernel.close(socket);
    }
  }

  private expect(step: string, result: number): number {
    if (result < 0) throw new StepFailure(step, result);
    return result;
  }
}
