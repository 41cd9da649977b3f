import { createRequire } from "node:module";
import { TerrariumError } from "../../contract/errors";
import { steadyMemory } from "../memory";

/*
 * The calls of the Linux kernel that interfaces of the host need and the runtime does not offer, over koffi. What they
 * point at lies in memory that never moves (`NativeMemory`), and is laid out by hand. All processors that koffi is built
 * for store the low byte first.
 */

/** Each call returns what the kernel does, or a failure as its negative number (see `Errno`). */
export interface KernelCalls {
  open(path: string, flags: number): number;
  close(descriptor: number): number;
  read(descriptor: number, address: number, bytes: number): number;
  write(descriptor: number, address: number, bytes: number): number;
  /** Reads into several parts (struct iovec). */
  readv(descriptor: number, parts: number, count: number): number;
  ioctl(descriptor: number, request: number, address: number): number;
  socket(family: number, type: number, protocol: number): number;
  socketpair(family: number, type: number, protocol: number, address: number): number;
  bind(descriptor: number, address: number, bytes: number): number;
  getsockname(descriptor: number, address: number, sizeAt: number): number;
  setsockopt(descriptor: number, level: number, option: number, address: number, bytes: number): number;
  send(descriptor: number, address: number, bytes: number, flags: number): number;
  recv(descriptor: number, address: number, bytes: number, flags: number): number;
  sendmsg(descriptor: number, message: number, flags: number): number;
  recvmsg(descriptor: number, message: number, flags: number): number;
  sendmmsg(descriptor: number, messages: number, count: number, flags: number): number;
  recvmmsg(descriptor: number, messages: number, count: number, flags: number): number;
  interfaceIndex(name: string): number;
  prctl(option: number, value: number): number;
  capset(header: number, sets: number): number;
  epollCreate(): number;
  epollControl(epoll: number, operation: number, descriptor: number, event: number): number;
  /** Waits on a thread of the runtime's pool. */
  epollWaitAside(epoll: number, events: number, count: number, done: (result: number) => void): void;
  eventDescriptor(): number;
  memory(bytes: number): NativeMemory;
}

/** What the kernel answers that is told apart here (errno(3)). */
export const Errno = { perm: 1, noEntry: 2, interrupted: 4, io: 5, noDevice: 6, badDescriptor: 9, again: 11, access: 13, busy: 16, exists: 17, noSuchDevice: 19, invalid: 22, brokenPipe: 32, badState: 77, messageSize: 90, notSupported: 95, networkDown: 100, noBuffers: 105 } as const;

const errnoNames: Record<number, string> = { 1: "EPERM", 2: "ENOENT", 5: "EIO", 6: "ENXIO", 9: "EBADF", 13: "EACCES", 16: "EBUSY", 17: "EEXIST", 19: "ENODEV", 22: "EINVAL", 24: "EMFILE", 77: "EBADFD", 90: "EMSGSIZE", 92: "ENOPROTOOPT", 93: "EPROTONOSUPPORT", 95: "EOPNOTSUPP", 97: "EAFNOSUPPORT", 99: "EADDRNOTAVAIL", 100: "ENETDOWN", 101: "ENETUNREACH", 105: "ENOBUFS" };

/** The name of a failed call's result, for messages. */
export function errnoName(result: number): string {
  return errnoNames[-result] ?? `error ${-result}`;
}

/** Memory with an address. */
export interface NativeMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly address: number;
}

/** The part of koffi that is used. */
interface Koffi {
  load(library: null): { func(name: string, result: string, parameters: string[]): Native };
  errno(): number;
  address(value: unknown): bigint;
}
type Native = ((...values: (number | string)[]) => number) & { async(...values: (number | string | ((error: unknown, result: number) => void))[]): void };

/** Loads the calls. @throws TerrariumError `unsupported` elsewhere than on Linux, `unavailable` when koffi cannot be loaded. */
export function loadKernelCalls(platform: NodeJS.Platform = process.platform): KernelCalls {
  if (platform !== "linux") throw new TerrariumError("unsupported", "Interfaces of the host can be opened on Linux only.", "Use NAT; port forwards make a guest reachable.");
  let koffi: Koffi;
  try {
    koffi = createRequire(__filename)("koffi") as Koffi;
  } catch (error) {
    throw new TerrariumError("unavailable", "Interfaces of the host cannot be opened: koffi, which calls the system, cannot be loaded here.", "Install Terrarium's packages again. NAT and internal networks work without it.", { cause: error });
  }
  const library = koffi.load(null);
  const wrap = (name: string, result: string, parameters: string[]): ((...values: (number | string)[]) => number) => {
    const native = library.func(name, result, parameters);
    return (...values) => {
      const answer = native(...values);
      return answer < 0 ? -koffi.errno() : answer;
    };
  };
  const int = "int";
  const long = "long";
  const pointer = "uintptr_t";
  const size = "unsigned long";
  const recvmmsg = wrap("recvmmsg", int, [int, pointer, "uint32_t", int, pointer]);
  const epollCreate = wrap("epoll_create1", int, [int]);
  const epollWait = library.func("epoll_wait", int, [int, pointer, int, int]);
  const eventfd = wrap("eventfd", int, ["uint32_t", int]);
  const prctl = wrap("prctl", int, [int, size, size, size, size]);
  const ifNameToIndex = library.func("if_nametoindex", "uint32_t", ["str"]);
  return {
    open: wrap("open", int, ["str", int]),
    close: wrap("close", int, [int]),
    read: wrap("read", long, [int, pointer, size]),
    write: wrap("write", long, [int, pointer, size]),
    readv: wrap("readv", long, [int, pointer, int]),
    ioctl: wrap("ioctl", int, [int, size, pointer]),
    socket: wrap("socket", int, [int, int, int]),
    socketpair: wrap("socketpair", int, [int, int, int, pointer]),
    bind: wrap("bind", int, [int, pointer, "uint32_t"]),
    getsockname: wrap("getsockname", int, [int, pointer, pointer]),
    setsockopt: wrap("setsockopt", int, [int, int, int, pointer, "uint32_t"]),
    send: wrap("send", long, [int, pointer, size, int]),
    recv: wrap("recv", long, [int, pointer, size, int]),
    sendmsg: wrap("sendmsg", long, [int, pointer, int]),
    recvmsg: wrap("recvmsg", long, [int, pointer, int]),
    sendmmsg: wrap("sendmmsg", int, [int, pointer, "uint32_t", int]),
    recvmmsg: (descriptor, messages, count, flags) => recvmmsg(descriptor, messages, count, flags, 0),
    interfaceIndex: (name) => ifNameToIndex(name),
    prctl: (option, value) => prctl(option, value, 0, 0, 0),
    capset: wrap("capset", int, [pointer, pointer]),
    epollCreate: () => epollCreate(0o2000000),
    epollControl: wrap("epoll_ctl", int, [int, int, int, pointer]),
    epollWaitAside: (epoll, events, count, done) => epollWait.async(epoll, events, count, -1, (error, result) => done(error === null ? result : -1)),
    eventDescriptor: () => eventfd(0, 0o2004000),
    memory(bytes) {
      const buffer = steadyMemory(bytes);
      const whole = new Uint8Array(buffer);
      return { bytes: whole, view: new DataView(buffer), address: Number(koffi.address(whole)) };
    },
  };
}

/** Puts an address, as the kernel's structures hold it, at `at`. */
export function writePointer(memory: NativeMemory, at: number, target: number): void {
  memory.view.setUint32(at, target % 2 ** 32, true);
  memory.view.setUint32(at + 4, Math.floor(target / 2 ** 32), true);
}

/** Puts a text with its closing zero at `at`. Returns its length without it. */
export function writeText(memory: NativeMemory, at: number, text: string): number {
  const { written } = new TextEncoder().encodeInto(text, memory.bytes.subarray(at));
  memory.bytes[at + written] = 0;
  return written;
}
