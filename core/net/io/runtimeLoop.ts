import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { Socket } from "node:net";
import { Family, SocketType, type Libc } from "./libc";
import type { LoopMemory } from "./loopMemory";

/** How many passes of the runtime's loop its descriptor is looked for in. */
const attempts = 20;

/**
 * Finds the epoll descriptor of the runtime's own loop in this thread, which the runtime does not tell: of all epoll
 * descriptors of this process (other threads have theirs) it is the one that has a socket of ours among its targets, as
 * /proc shows them (proc_pid_fdinfo(5)). The runtime puts a new socket there when it polls next, so each look is a pass
 * later. `found` gets undefined where /proc shows nothing.
 */
export function findRuntimeLoop(libc: Libc, memory: LoopMemory, afterPolling: (task: () => void) => void, found: (descriptor: number | undefined) => void): void {
  const pair = memory.allocate(8);
  const made = libc.socketPair(Family.unix, SocketType.stream | SocketType.closeOnExec, 0, memory.addressOf(pair));
  const ours = memory.view.getInt32(pair.byteOffset, true);
  const other = memory.view.getInt32(pair.byteOffset + 4, true);
  memory.release(pair);
  if (made < 0) {
    found(undefined);
    return;
  }
  const socket = new Socket({ fd: ours, readable: true, writable: true });
  socket.on("error", () => socket.destroy());
  socket.resume();
  let left = attempts;
  const look = (): void => {
    const descriptor = epollWith(ours);
    if (descriptor === undefined && --left > 0) {
      afterPolling(look);
      return;
    }
    socket.destroy();
    libc.close(other);
    found(descriptor);
  };
  afterPolling(look);
}

function epollWith(target: number): number | undefined {
  const pattern = new RegExp(`^tfd:\\s+${target}\\s`, "m");
  try {
    for (const descriptor of readdirSync("/proc/self/fd")) {
      if (isEpoll(descriptor) && pattern.test(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))) return Number(descriptor);
    }
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === undefined) throw failure;
    // No /proc, or none that shows descriptors.
  }
  return undefined;
}

function isEpoll(descriptor: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`) === "anon_inode:[eventpoll]";
  } catch (failure) {
    // Closed meanwhile, as the one that the list itself was read through.
    if ((failure as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw failure;
  }
}
