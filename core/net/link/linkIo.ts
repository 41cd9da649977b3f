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
  /** Where received frames are put together to runs. */
  readonly received: NativeMemory;
  /** Frames on their way out. */
  readonly sending: NativeMemory;
}

/** A run is handed on when it has grown to this, bytes. */
export const runBytes = 256 * 1024;
const headerAndFrame = headerBytes + maxFrameBytes;

export function openLinkIo(around: Pick<LinkIo, "kernel" | "watcher" | "reactor" | "log">): LinkIo {
  return { ...around, received: around.kernel.memory(runBytes + headerAndFrame), sending: around.kernel.memory(runBytes + headerAndFrame) };
}
