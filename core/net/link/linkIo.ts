import type { Log } from "../../base/log";
import { maxFrameBytes } from "../port";
import type { Reactor } from "../reactor";
import type { DescriptorWatcher } from "./descriptorWatcher";
import type { KernelCalls, NativeMemory } from "./kernelCalls";
import { headerBytes } from "./stream";

/**
 * What the ports of one loop share: the calls, and the memory that the kernel reads from and writes to. It can be shared
 * because what is in it is handed on, or sent, before the call that put it there returns.
 */
export interface LinkIo {
  readonly kernel: KernelCalls;
  readonly watcher: DescriptorWatcher;
  readonly reactor: Reactor;
  readonly log: Log;
  /** Where received frames are put together to runs; at `asideAt` there is room for one aside, with its virtio header. */
  readonly received: NativeMemory;
  /** Frames on their way out. */
  readonly sending: NativeMemory;
}

/** A run is handed on when it has grown to this, bytes. */
export const runBytes = 256 * 1024;
const headerAndFrame = headerBytes + maxFrameBytes;
export const asideAt = Math.ceil((runBytes + headerAndFrame) / 64) * 64;
/** Enough for a virtio header, and for a struct iovec or two in front of it. */
const besideFrame = 128;

export function openLinkIo(around: Pick<LinkIo, "kernel" | "watcher" | "reactor" | "log">): LinkIo {
  return { ...around, received: around.kernel.memory(asideAt + besideFrame + maxFrameBytes), sending: around.kernel.memory(runBytes + headerAndFrame) };
}
