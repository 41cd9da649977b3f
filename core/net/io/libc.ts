import { createRequire } from "node:module";
import { constants } from "node:os";
import type * as Koffi from "koffi";

/**
 * The few functions of the C library that the fast loop is made of. Memory is passed by its address as a number. Every
 * function returns what the C function returns, or, when that failed, the error's number made negative.
 */
export interface Libc {
  epollCreate(): number;
  epollControl(epoll: number, operation: number, descriptor: number, event: number): number;
  epollWait(epoll: number, events: number, count: number, timeoutMs: number): number;
  socket(family: number, type: number, protocol: number): number;
  socketPair(family: number, type: number, protocol: number, pair: number): number;
  connect(descriptor: number, address: number, length: number): number;
  bind(descriptor: number, address: number, length: number): number;
  listen(descriptor: number, backlog: number): number;
  accept(descriptor: number, address: number, length: number, flags: number): number;
  socketName(descriptor: number, address: number, length: number): number;
  getOption(descriptor: number, level: number, name: number, value: number, length: number): number;
  setOption(descriptor: number, level: number, name: number, value: number, length: number): number;
  shutdown(descriptor: number, how: number): number;
  close(descriptor: number): number;
  fileControl(descriptor: number, command: number, argument: number): number;
  read(descriptor: number, buffer: number, count: number): number;
  write(descriptor: number, buffer: number, count: number): number;
  /** As `read` and `write`, for bytes that lie in no memory whose address is known. */
  readInto(descriptor: number, buffer: Uint8Array, count: number): number;
  writeFrom(descriptor: number, buffer: Uint8Array, count: number): number;
  sendTo(descriptor: number, buffer: number, count: number, flags: number, address: number, length: number): number;
  receiveMessage(descriptor: number, message: number, flags: number): number;
  receiveMessages(descriptor: number, messages: number, count: number, flags: number, timeout: number): number;
  getLimit(resource: number, limit: number): number;
  setLimit(resource: number, limit: number): number;
  /** The address of the first byte. */
  addressOf(bytes: Uint8Array): number;
}

/** @throws whatever kept koffi from being loaded, or the library from having a function */
export function loadLibc(): Libc {
  const koffi = createRequire(import.meta.url)("koffi") as typeof Koffi;
  const library = koffi.load(null);
  // One shape per number of parameters: spreading them would cost as much as the call.
  type Call = (...values: (number | Uint8Array)[]) => number;
  const bind = (name: string, result: "int" | "long", ...parameters: string[]): Call => {
    const call = library.func(name, result, parameters) as Call;
    // The error is asked for at once: anything in between might set another.
    switch (parameters.length) {
      case 1:
        return (a) => orError(call(a!));
      case 2:
        return (a, b) => orError(call(a!, b!));
      case 3:
        return (a, b, c) => orError(call(a!, b!, c!));
      case 4:
        return (a, b, c, d) => orError(call(a!, b!, c!, d!));
      case 5:
        return (a, b, c, d, e) => orError(call(a!, b!, c!, d!, e!));
      default:
        return (a, b, c, d, e, f) => orError(call(a!, b!, c!, d!, e!, f!));
    }
  };
  const orError = (returned: number): number => (returned < 0 ? -koffi.errno() : returned);
  const address = "uintptr_t";
  const epollCreate = bind("epoll_create1", "int", "int");
  return {
    epollCreate: () => epollCreate(closeOnExec),
    epollControl: bind("epoll_ctl", "int", "int", "int", "int", address),
    epollWait: bind("epoll_wait", "int", "int", address, "int", "int"),
    socket: bind("socket", "int", "int", "int", "int"),
    socketPair: bind("socketpair", "int", "int", "int", "int", address),
    connect: bind("connect", "int", "int", address, "uint"),
    bind: bind("bind", "int", "int", address, "uint"),
    listen: bind("listen", "int", "int", "int"),
    accept: bind("accept4", "int", "int", address, address, "int"),
    socketName: bind("getsockname", "int", "int", address, address),
    getOption: bind("getsockopt", "int", "int", "int", "int", address, address),
    setOption: bind("setsockopt", "int", "int", "int", "int", address, "uint"),
    shutdown: bind("shutdown", "int", "int", "int"),
    close: bind("close", "int", "int"),
    fileControl: bind("fcntl", "int", "int", "int", "long"),
    read: bind("read", "long", "int", address, "size_t"),
    write: bind("write", "long", "int", address, "size_t"),
    readInto: bind("read", "long", "int", "void *", "size_t"),
    writeFrom: bind("write", "long", "int", "void *", "size_t"),
    sendTo: bind("sendto", "long", "int", address, "size_t", "int", address, "uint"),
    receiveMessage: bind("recvmsg", "long", "int", address, "int"),
    receiveMessages: bind("recvmmsg", "int", "int", address, "uint", "int", address),
    getLimit: bind("getrlimit", "int", "int", address),
    setLimit: bind("setrlimit", "int", "int", address),
    addressOf: (bytes) => Number(koffi.address(bytes)),
  };
}

const closeOnExec = 0x8_0000;

const errorNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number as number, name]));

/** The name of an error's number: 111 is "ECONNREFUSED" on Linux. */
export function errorName(number: number): string {
  return number === again ? "EAGAIN" : (errorNames.get(number) ?? `error ${number}`);
}

const again = constants.errno.EAGAIN;

/** What a call returned that would have had to wait, or was interrupted: nothing has happened, and it may be done again. */
export function isRetry(returned: number): boolean {
  return returned === -again || returned === -constants.errno.EINTR;
}

/** Numbers of Linux's interfaces, the same on every processor that Node runs on there (MIPS and SPARC differ, and are none). */
export const Family = { unix: 1, inet: 2 } as const;
export const SocketType = { stream: 1, datagram: 2, raw: 3, nonblocking: 0x800, closeOnExec } as const;
export const Level = { ip: 0, socket: 1, tcp: 6, raw: 255 } as const;
export const SocketOption = { reuseAddress: 2, error: 4, receiveBuffer: 8, linger: 13 } as const;
export const IpOption = { ttl: 2, mtuDiscover: 10, receiveErrors: 11 } as const;
export const tcpNoDelay = 1;
export const icmpFilter = 1;
export const protocolIcmp = 1;
export const openFilesLimit = 7;
export const MessageFlag = { dontWait: 0x40, errorQueue: 0x2000, truncated: 0x20, noSignal: 0x4000 } as const;
export const FileControl = { getFlags: 3, setFlags: 4, nonblocking: 0x800 } as const;
export const Shutdown = { write: 1 } as const;
export const EpollControl = { add: 1, remove: 2, change: 3 } as const;
export const EpollEvent = { in: 1, out: 4, error: 8, hangUp: 16 } as const;
