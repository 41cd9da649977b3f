import type { Ipv4Address } from "../wire/addresses";
import { IpOption, Level, MessageFlag, type Libc } from "./libc";
import type { LoopMemory } from "./loopMemory";
import { addressBytes } from "./socketCalls";

/** How many datagrams are taken with one call, and the longest there is (RFC 791: the length has 16 bits). */
const messageCount = 32;
const bufferBytes = 65_536;
const controlBytes = 512;

/** Layout on 64-bit processors: struct mmsghdr is a struct msghdr with a length behind it (recvmsg(2), recvmmsg(2)). */
const messageBytes = 64;
const at = { name: 0, nameLength: 8, vector: 16, vectorCount: 24, control: 32, controlLength: 40, flags: 48, received: 56 } as const;
const vectorBytes = 16;

/** An ICMP error, or one of the host's own, about a datagram that was sent (ip(7), IP_RECVERR). */
export interface QueuedError {
  readonly errorNumber: number;
  /** Whether ICMP told it; its type and code, and where it came from. */
  readonly icmp: boolean;
  readonly type: number;
  readonly code: number;
  readonly from: Ipv4Address;
  /** Where the datagram was sent. */
  readonly address: Ipv4Address;
  readonly port: number;
  /** How many bytes of the datagram's own are in `bytes`. */
  readonly quoted: number;
}

const icmpOrigin = 2;

/** Receives datagrams in batches. One for all sockets of a loop: what was received is valid until the next call. */
export class Messages {
  readonly bytes: Uint8Array;
  private readonly headers: Uint8Array;
  private readonly names: Uint8Array;
  private readonly vectors: Uint8Array;
  private readonly control: Uint8Array;

  constructor(
    private readonly libc: Libc,
    private readonly memory: LoopMemory,
  ) {
    this.bytes = memory.allocate(messageCount * bufferBytes);
    this.headers = memory.allocate(messageCount * messageBytes);
    this.names = memory.allocate(messageCount * addressBytes);
    this.vectors = memory.allocate(messageCount * vectorBytes);
    this.control = memory.allocate(controlBytes);
    for (let index = 0; index < messageCount; index++) {
      const header = this.headers.byteOffset + index * messageBytes;
      const vector = this.vectors.byteOffset + index * vectorBytes;
      memory.putPointer(header + at.name, this.names.subarray(index * addressBytes));
      memory.putPointer(header + at.vector, this.vectors.subarray(index * vectorBytes));
      memory.view.setUint32(header + at.vectorCount, 1, true);
      memory.putPointer(vector, this.bytes.subarray(index * bufferBytes));
      memory.view.setUint32(vector + 8, bufferBytes, true);
    }
  }

  /** Calls `each` for every datagram that is there, up to a batch. Below zero: the error's number. */
  receive(descriptor: number, each: (bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number) => void): number {
    const { view } = this.memory;
    for (let index = 0; index < messageCount; index++) view.setUint32(this.headers.byteOffset + index * messageBytes + at.nameLength, addressBytes, true);
    const count = this.libc.receiveMessages(descriptor, this.memory.addressOf(this.headers), messageCount, MessageFlag.dontWait, 0);
    for (let index = 0; index < count; index++) {
      const name = this.names.byteOffset + index * addressBytes;
      const begin = index * bufferBytes;
      each(this.bytes, begin, begin + view.getUint32(this.headers.byteOffset + index * messageBytes + at.received, true), view.getUint32(name + 4), view.getUint16(name + 2));
    }
    return count;
  }

  /** Takes the next error from a socket's error queue; undefined when it is empty. The quoted bytes are at the start of `bytes`. */
  takeError(descriptor: number): QueuedError | undefined {
    const { view } = this.memory;
    const header = this.headers.byteOffset;
    view.setUint32(header + at.nameLength, addressBytes, true);
    this.memory.putPointer(header + at.control, this.control);
    view.setUint32(header + at.controlLength, controlBytes, true);
    const quoted = this.libc.receiveMessage(descriptor, this.memory.addressOf(this.headers), MessageFlag.errorQueue | MessageFlag.dontWait);
    const length = Math.min(view.getUint32(header + at.controlLength, true), controlBytes);
    // The batches are received without control data.
    view.setBigUint64(header + at.control, 0n);
    view.setUint32(header + at.controlLength, 0, true);
    if (quoted < 0) return undefined;
    const name = this.names.byteOffset;
    const address = view.getUint32(name + 4);
    const port = view.getUint16(name + 2);
    // struct cmsghdr (cmsg(3)), then struct sock_extended_err with the address of whoever told behind it.
    for (let position = 0; position + 16 <= length; ) {
      const message = this.control.byteOffset + position;
      const size = view.getUint32(message, true);
      if (size < 16) break;
      if (view.getInt32(message + 8, true) === Level.ip && view.getInt32(message + 12, true) === IpOption.receiveErrors && size >= 16 + 16 + addressBytes) {
        const error = message + 16;
        const icmp = view.getUint8(error + 4) === icmpOrigin;
        return { errorNumber: view.getUint32(error, true), icmp, type: view.getUint8(error + 5), code: view.getUint8(error + 6), from: icmp ? view.getUint32(error + 16 + 4) : 0, address, port, quoted };
      }
      position += Math.ceil(size / 8) * 8;
    }
    return { errorNumber: 0, icmp: false, type: 0, code: 0, from: 0, address, port, quoted };
  }
}
