import type { Ipv4Address } from "../wire/addresses";
import { errorName, Family, Level, SocketOption, SocketType, type Libc } from "./libc";
import type { LoopMemory } from "./loopMemory";

/** sockaddr_in, and the longest sockaddr_un. */
export const addressBytes = 16;
const unixAddressBytes = 110;
const unixPathAt = 2;

/** Calls on sockets whose parameters lie in memory: this is that memory's place, and the layout of what is put there. */
export class SocketCalls {
  private readonly address: Uint8Array;
  private readonly length: Uint8Array;
  private readonly value: Uint8Array;
  private readonly view: DataView;

  constructor(
    readonly libc: Libc,
    readonly memory: LoopMemory,
  ) {
    this.address = memory.allocate(unixAddressBytes);
    this.length = memory.allocate(4);
    this.value = memory.allocate(8);
    this.view = memory.view;
  }

  /** A socket that neither waits nor outlives this program; below zero the error's number. */
  open(family: number, type: number, protocol = 0): number {
    return this.libc.socket(family, type | SocketType.nonblocking | SocketType.closeOnExec, protocol);
  }

  connect(descriptor: number, address: Ipv4Address, port: number): number {
    return this.libc.connect(descriptor, this.put(address, port), addressBytes);
  }

  connectPath(descriptor: number, path: string): number {
    const bytes = Buffer.from(path);
    // With its zero behind it the path fills the structure at most.
    if (bytes.length === 0 || unixPathAt + bytes.length >= unixAddressBytes || bytes.includes(0)) return -nameTooLong;
    this.view.setUint16(this.address.byteOffset, Family.unix, true);
    this.address.fill(0, unixPathAt).set(bytes, unixPathAt);
    return this.libc.connect(descriptor, this.memory.addressOf(this.address), unixPathAt + bytes.length + 1);
  }

  bind(descriptor: number, address: Ipv4Address, port: number): number {
    return this.libc.bind(descriptor, this.put(address, port), addressBytes);
  }

  accept(listener: number): number {
    this.view.setUint32(this.length.byteOffset, addressBytes, true);
    return this.libc.accept(listener, this.memory.addressOf(this.address), this.memory.addressOf(this.length), SocketType.nonblocking | SocketType.closeOnExec);
  }

  /** The address that `accept` or `readName` left behind. */
  get lastAddress(): { readonly address: Ipv4Address; readonly port: number } {
    return { port: this.view.getUint16(this.address.byteOffset + 2), address: this.view.getUint32(this.address.byteOffset + 4) };
  }

  readName(descriptor: number): { readonly address: Ipv4Address; readonly port: number } {
    this.view.setUint32(this.length.byteOffset, addressBytes, true);
    this.address.fill(0);
    this.libc.socketName(descriptor, this.memory.addressOf(this.address), this.memory.addressOf(this.length));
    return this.lastAddress;
  }

  setOption(descriptor: number, level: number, name: number, value: number): number {
    this.view.setInt32(this.value.byteOffset, value, true);
    return this.libc.setOption(descriptor, level, name, this.memory.addressOf(this.value), 4);
  }

  /** The error that waits on a socket, by its name; undefined when there is none. Reading it clears it. */
  takeError(descriptor: number): string | undefined {
    this.view.setUint32(this.length.byteOffset, 4, true);
    this.view.setInt32(this.value.byteOffset, 0, true);
    const got = this.libc.getOption(descriptor, Level.socket, SocketOption.error, this.memory.addressOf(this.value), this.memory.addressOf(this.length));
    const error = got < 0 ? -got : this.view.getInt32(this.value.byteOffset, true);
    return error === 0 ? undefined : errorName(error);
  }

  /** Has `close` send a reset (socket(7), SO_LINGER with a time of zero). */
  resetOnClose(descriptor: number): void {
    this.view.setInt32(this.value.byteOffset, 1, true);
    this.view.setInt32(this.value.byteOffset + 4, 0, true);
    this.libc.setOption(descriptor, Level.socket, SocketOption.linger, this.memory.addressOf(this.value), 8);
  }

  sendTo(descriptor: number, buffer: number, count: number, address: Ipv4Address, port: number): number {
    return this.libc.sendTo(descriptor, buffer, count, 0, this.put(address, port), addressBytes);
  }

  private put(address: Ipv4Address, port: number): number {
    const at = this.address.byteOffset;
    this.view.setUint16(at, Family.inet, true);
    this.view.setUint16(at + 2, port);
    this.view.setUint32(at + 4, address);
    this.view.setBigUint64(at + 8, 0n);
    return this.memory.addressOf(this.address);
  }
}

const nameTooLong = 36;
