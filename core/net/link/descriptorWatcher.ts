import { toDisposable, type Disposable } from "../../base/disposable";
import type { Log } from "../../base/log";
import { Errno, errnoName, type KernelCalls, type NativeMemory } from "./kernelCalls";

export interface DescriptorHandler {
  /** There is something to read, or an error to hear of. Called in every turn in which there is. */
  readable(): void;
  /** There is room again; called while writing is watched. */
  writable(): void;
}

export interface WatchedDescriptor extends Disposable {
  /** Whether `writable` is called. Off at first. */
  setWriting(on: boolean): void;
}

/** Tells when descriptors are ready. They are not closed by it: end the watch first, then close. */
export interface DescriptorWatcher {
  watch(descriptor: number, handler: DescriptorHandler): WatchedDescriptor;
}

const Operation = { add: 1, remove: 2, change: 3 } as const;
const Ready = { read: 0x1, write: 0x4, error: 0x8, hangUp: 0x10 } as const;
const eventBytes = process.arch === "x64" || process.arch === "ia32" ? 12 : 16;
const tokenAt = process.arch === "x64" || process.arch === "ia32" ? 4 : 8;
const maxEvents = 32;
const wakeToken = 0;

/**
 * Watches descriptors beside the runtime's own loop, which does not take those of TAPs and packet sockets: a thread of the
 * runtime's pool waits in epoll(7), and only while something is watched.
 */
export class PortableDescriptorWatcher implements DescriptorWatcher, Disposable {
  private readonly memory: NativeMemory;
  private readonly epoll: number;
  private readonly wake: number;
  private readonly watched = new Map<number, DescriptorHandler>();
  private nextToken = wakeToken + 1;
  private waiting = false;
  private disposed = false;

  constructor(
    private readonly kernel: KernelCalls,
    private readonly log: Log,
  ) {
    this.memory = kernel.memory(1024);
    this.epoll = kernel.epollCreate();
    this.wake = kernel.eventDescriptor();
    this.control(Operation.add, this.wake, wakeToken, Ready.read);
  }

  watch(descriptor: number, handler: DescriptorHandler): WatchedDescriptor {
    const token = this.nextToken++;
    this.watched.set(token, handler);
    this.control(Operation.add, descriptor, token, Ready.read);
    this.wait();
    const ended = toDisposable(() => {
      this.watched.delete(token);
      if (this.disposed) return;
      this.control(Operation.remove, descriptor, token, 0);
      // The thread that waits is let go with the last watch, so that the process can end.
      if (this.watched.size === 0) this.interrupt();
    });
    return {
      setWriting: (on) => {
        if (this.watched.has(token)) this.control(Operation.change, descriptor, token, Ready.read | (on ? Ready.write : 0));
      },
      dispose: () => ended.dispose(),
    };
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.watched.clear();
    if (this.waiting) this.interrupt();
    else this.close();
  }

  private wait(): void {
    if (this.waiting) return;
    this.waiting = true;
    this.kernel.epollWaitAside(this.epoll, this.memory.address + 64, maxEvents, (count) => this.woken(count));
  }

  private woken(count: number): void {
    this.waiting = false;
    for (let index = 0; index < count && !this.disposed; index++) {
      const at = 64 + index * eventBytes;
      const events = this.memory.view.getUint32(at, true);
      const token = this.memory.view.getUint32(at + tokenAt, true);
      if (token === wakeToken) this.kernel.read(this.wake, this.memory.address + 32, 8);
      // Others may have ended this watch in the meantime.
      if ((events & (Ready.read | Ready.error | Ready.hangUp)) !== 0) this.handle(() => this.watched.get(token)?.readable());
      if ((events & Ready.write) !== 0) this.handle(() => this.watched.get(token)?.writable());
    }
    if (this.disposed) this.close();
    else if (this.watched.size > 0) this.wait();
  }

  private handle(event: () => void): void {
    try {
      event();
    } catch (failure) {
      this.log.error("handling an interface of the host failed", failure);
    }
  }

  private interrupt(): void {
    this.memory.view.setUint32(0, 1, true);
    this.memory.view.setUint32(4, 0, true);
    this.kernel.write(this.wake, this.memory.address, 8);
  }

  private control(operation: number, descriptor: number, token: number, events: number): void {
    // struct epoll_event: events, then 64 bits of ours; packed on x86 only
    this.memory.view.setUint32(16, events, true);
    this.memory.view.setUint32(16 + tokenAt, token, true);
    this.memory.view.setUint32(16 + tokenAt + 4, 0, true);
    const result = this.kernel.epollControl(this.epoll, operation, descriptor, this.memory.address + 16);
    // An interface that is gone takes its watch away by itself.
    if (result < 0 && !(operation === Operation.remove && (result === -Errno.noEntry || result === -Errno.badDescriptor))) {
      throw new Error(`a descriptor cannot be watched: ${errnoName(result)}`);
    }
  }

  private close(): void {
    this.kernel.close(this.wake);
    this.kernel.close(this.epoll);
  }
}
