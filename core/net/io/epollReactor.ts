import { systemClock, type Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";
import { EpollControl, EpollEvent, errorName, isRetry, type Libc } from "./libc";
import { LoopMemory } from "./loopMemory";
import { findRuntimeLoop } from "./runtimeLoop";
import { TimerHeap } from "./timerHeap";

/*
 * Theory of operation. A thread of its own turns this loop. One turn is
 *
 *   1. epoll_wait, until something is ready or the next timer is due;
 *   2. a call for each descriptor that is ready, each of which does a bounded amount of work: what is left is told of
 *      again in the next turn, because readiness is level-triggered;
 *   3. the timers that are due, and what was put off to this turn;
 *   4. the tasks of the turn's end: acknowledgments and gathered writes.
 *
 * Then the runtime's own loop gets its pass, for promises and message ports, and calls the next turn as an immediate.
 * While we wait, the runtime cannot; so its own epoll descriptor is among those we wait for, and whatever would wake it
 * wakes us. What that brings about (a closed handle, a finished write) it may finish some passes later, without a sign:
 * so it gets those passes before we wait again. Only timers and immediates that others set with it do not show at all:
 * the longest wait bounds how late they are.
 */

/** Descriptors handled per turn; with more, the kernel hands them out in rotation. */
const eventsPerTurn = 256;
/** The longest wait, and the longest when the runtime's descriptor could not be found; milliseconds. */
const longestWaits = { usual: 1000, blind: 5 };

/** Passes of the runtime's loop, after it was woken, in which we do not wait. */
const runtimePasses = 8;

/** How a loop is to behave, where it is not alone. */
export interface EpollOptions {
  /** Milliseconds; short for a loop that shares its thread with what depends on the runtime's timers and immediates. */
  readonly longestWaitMs?: number;
}

/** struct epoll_event is packed on x86-64 only (epoll_ctl(2)). */
const eventBytes = process.arch === "x64" ? 12 : 16;
const eventData = eventBytes - 8;

export interface WatchHandlers {
  readable?(): void;
  writable?(): void;
  /** The descriptor is in error, or its error queue holds something. */
  failed?(): void;
}

/** A descriptor that is waited for. Reading is on from the beginning when there is a handler for it, writing is off. */
export interface Watch extends Disposable {
  setReading(on: boolean): void;
  setWriting(on: boolean): void;
}

export class EpollReactor implements Reactor {
  readonly memory: LoopMemory;
  private readonly epoll: number;
  private readonly events: Uint8Array;
  private readonly change: Uint8Array;
  private readonly watches = new Map<number, DescriptorWatch>();
  private generation = 0;
  private changed: DescriptorWatch[] = [];
  private readonly timers = new TimerHeap();
  private putOff: (() => void)[] = [];
  private readonly endTasks: (() => void)[] = [];
  private state: "new" | "running" | "stopped" = "new";
  private longestWait = 0;
  private turns = 0;
  /** The turn from which on may be waited again. */
  private waitFrom = 0;

  constructor(
    readonly libc: Libc,
    private readonly log: Log,
    private readonly options: EpollOptions = {},
    private readonly clock: Clock = systemClock(),
    private readonly afterPolling: (task: () => void) => void = setImmediate,
  ) {
    this.memory = new LoopMemory(libc);
    this.epoll = libc.epollCreate();
    if (this.epoll < 0) throw new Error(`epoll_create1: ${errorName(-this.epoll)}`);
    this.events = this.memory.allocate(eventsPerTurn * eventBytes);
    this.change = this.memory.allocate(eventBytes);
  }

  /** Counts turns, for those who have a share per turn. */
  get turnNumber(): number {
    return this.turns;
  }

  now(): number {
    return this.clock.now();
  }

  monotonic(): number {
    return this.clock.monotonic();
  }

  schedule(delayMs: number, callback: () => void): Disposable {
    return this.timers.add(this.clock.monotonic() + Math.max(0, delayMs), callback);
  }

  atTurnEnd(task: () => void): void {
    this.endTasks.push(task);
  }

  allocate(bytes: number): Uint8Array {
    return this.memory.allocate(bytes);
  }

  release(buffer: Uint8Array): void {
    this.memory.release(buffer);
  }

  /** Handles an event in the next turn. */
  soon(event: () => void): void {
    this.putOff.push(event);
  }

  warn(message: string): void {
    this.log.warn(message);
  }

  /** Waits for a descriptor, which stays its owner's: the watch must be disposed before it is closed. */
  watch(descriptor: number, handlers: WatchHandlers): Watch {
    if (this.watches.has(descriptor)) throw new Error(`descriptor ${descriptor} is watched already`);
    const watch = new DescriptorWatch(this, descriptor, ++this.generation, handlers);
    this.watches.set(descriptor, watch);
    watch.setReading(handlers.readable !== undefined);
    watch.touch();
    return watch;
  }

  /** Turns the loop from now on, until `stop`. */
  run(): void {
    if (this.state !== "new") return;
    this.state = "running";
    findRuntimeLoop(this.libc, this.memory, this.afterPolling, (descriptor) => {
      if (this.state !== "running") return;
      if (descriptor === undefined) this.log.warn("the runtime's own loop cannot be waited for; it is looked after at short intervals");
      else this.watch(descriptor, { readable: () => (this.waitFrom = this.turns + runtimePasses) });
      const longest = this.options.longestWaitMs ?? longestWaits.usual;
      this.longestWait = descriptor === undefined ? Math.min(longest, longestWaits.blind) : longest;
    });
    this.afterPolling(() => this.turn());
  }

  /** Ends the loop: nothing is called any more. */
  stop(): void {
    if (this.state === "stopped") return;
    this.state = "stopped";
    this.libc.close(this.epoll);
  }

  /** Has a changed interest told to the kernel before the next wait. */
  enqueueChange(watch: DescriptorWatch): void {
    this.changed.push(watch);
  }

  forget(watch: DescriptorWatch): void {
    this.watches.delete(watch.descriptor);
  }

  control(operation: number, watch: DescriptorWatch, events: number): void {
    if (this.state === "stopped") return;
    const { view } = this.memory;
    const at = this.change.byteOffset;
    view.setUint32(at, events, true);
    view.setInt32(at + eventData, watch.descriptor, true);
    // A descriptor's number is used again at once when it is closed; its events of before must not reach its successor.
    view.setInt32(at + eventData + 4, watch.generation, true);
    const done = this.libc.epollControl(this.epoll, operation, watch.descriptor, this.memory.addressOf(this.change));
    if (done < 0) this.log.warn(`epoll_ctl on descriptor ${watch.descriptor}: ${errorName(-done)}`);
  }

  private turn(): void {
    if (this.state !== "running") return;
    this.turns++;
    const { changed } = this;
    this.changed = [];
    for (const watch of changed) watch.apply();

    const ready = this.libc.epollWait(this.epoll, this.memory.addressOf(this.events), eventsPerTurn, this.waitMs());
    if (ready < 0 && !isRetry(ready)) this.log.error(`epoll_wait: ${errorName(-ready)}`);
    const { view } = this.memory;
    for (let index = 0; index < ready; index++) {
      const at = this.events.byteOffset + index * eventBytes;
      const watch = this.watches.get(view.getInt32(at + eventData, true));
      if (watch?.generation === view.getInt32(at + eventData + 4, true)) this.handle(watch.dispatch, view.getUint32(at, true));
    }

    const now = this.clock.monotonic();
    const set = this.timers.count;
    for (let due = this.timers.takeDue(now, set); due; due = this.timers.takeDue(now, set)) this.handle(due, 0);
    const putOff = this.putOff;
    this.putOff = [];
    for (const event of putOff) this.handle(event, 0);
    // Tasks that are added meanwhile belong to the same end.
    for (let index = 0; index < this.endTasks.length; index++) this.handle(this.endTasks[index]!, 0);
    this.endTasks.length = 0;

    this.afterPolling(() => this.turn());
  }

  private waitMs(): number {
    if (this.putOff.length > 0 || this.endTasks.length > 0 || this.turns < this.waitFrom) return 0;
    const next = this.timers.next;
    if (next === Infinity) return this.longestWait;
    // Rounded up: a wait that ends before the timer is due is only followed by another.
    return Math.max(0, Math.min(this.longestWait, Math.ceil(next - this.clock.monotonic())));
  }

  /** What an event's handling throws ends nothing but itself. */
  private handle(event: (events: number) => void, events: number): void {
    try {
      event(events);
    } catch (failure) {
      this.log.error("handling an event of the network failed", failure);
    }
  }
}

class DescriptorWatch implements Watch {
  /** What is asked for, and what the kernel was told; undefined: the kernel does not watch it. */
  private wanted = 0;
  private told: number | undefined;
  private queued = false;
  private disposed = false;

  constructor(
    private readonly reactor: EpollReactor,
    readonly descriptor: number,
    readonly generation: number,
    private readonly handlers: WatchHandlers,
  ) {}

  setReading(on: boolean): void {
    this.want(on ? this.wanted | EpollEvent.in : this.wanted & ~EpollEvent.in);
  }

  setWriting(on: boolean): void {
    this.want(on ? this.wanted | EpollEvent.out : this.wanted & ~EpollEvent.out);
  }

  /** Asks the kernel again, also when nothing but errors and hang-ups are waited for. */
  touch(): void {
    if (this.queued || this.disposed) return;
    this.queued = true;
    this.reactor.enqueueChange(this);
  }

  apply(): void {
    this.queued = false;
    if (this.disposed || this.told === this.wanted) return;
    this.reactor.control(this.told === undefined ? EpollControl.add : EpollControl.change, this, this.wanted);
    this.told = this.wanted;
  }

  readonly dispatch = (events: number): void => {
    let handled = false;
    if ((events & EpollEvent.error) !== 0 && this.handlers.failed) {
      handled = true;
      this.handlers.failed();
    }
    const gone = events & (EpollEvent.error | EpollEvent.hangUp);
    if (!this.disposed && (this.wanted & EpollEvent.in) !== 0 && ((events & EpollEvent.in) | gone) !== 0) {
      handled = true;
      this.handlers.readable?.();
    }
    if (!this.disposed && (this.wanted & EpollEvent.out) !== 0 && ((events & EpollEvent.out) | gone) !== 0) {
      handled = true;
      this.handlers.writable?.();
    }
    // A hang-up is told of again and again. Until somebody wants to read or write there is nobody to tell.
    if (!handled && !this.disposed && this.told !== undefined && gone !== 0) {
      this.reactor.control(EpollControl.remove, this, 0);
      this.told = undefined;
    }
  };

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    if (this.told !== undefined) this.reactor.control(EpollControl.remove, this, 0);
    this.reactor.forget(this);
  }

  private want(wanted: number): void {
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.touch();
  }
}
