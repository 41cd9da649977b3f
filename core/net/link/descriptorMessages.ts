import { Errno, writePointer, type KernelCalls, type NativeMemory } from "./kernelCalls";

/*
 * Messages with a descriptor beside them (unix(7), SCM_RIGHTS). struct msghdr: name, its length, the parts, their number,
 * the control data, its length, flags: 56 bytes. struct cmsghdr: length, level, type, and the descriptor: 20 bytes.
 */

const Layout = { message: 0, part: 64, control: 96, body: 128 } as const;
const controlBytes = 24;
const rightsBytes = 20;
const socketLevel = 1;
const rights = 1;
const truncated = 0x20;
const controlTruncated = 0x8;
const closeOnExec = 0x4000_0000;
const noSignal = 0x4000;
const dontWait = 0x40;

/** Sends and receives messages of up to `maxBytes` on a socket that keeps their bounds. */
export class DescriptorMessages {
  private readonly memory: NativeMemory;

  constructor(
    private readonly kernel: KernelCalls,
    private readonly socket: number,
    private readonly maxBytes: number,
    /** Whether it waits for a message, and for room. */
    private readonly waits: boolean,
  ) {
    this.memory = kernel.memory(Layout.body + maxBytes);
  }

  /** Returns a negative number when it could not be sent. */
  send(text: string, descriptor?: number): number {
    const body = new TextEncoder().encode(text);
    if (body.length > this.maxBytes) return -Errno.messageSize;
    const { bytes, view, address } = this.memory;
    bytes.set(body, Layout.body);
    this.header(body.length, descriptor === undefined ? 0 : controlBytes);
    if (descriptor !== undefined) {
      bytes.fill(0, Layout.control, Layout.control + controlBytes);
      view.setUint32(Layout.control, rightsBytes, true);
      view.setInt32(Layout.control + 8, socketLevel, true);
      view.setInt32(Layout.control + 12, rights, true);
      view.setInt32(Layout.control + 16, descriptor, true);
    }
    return this.kernel.sendmsg(this.socket, address + Layout.message, noSignal | (this.waits ? 0 : dontWait));
  }

  /** The next message; "end" when the other side is gone, a negative number when there is none now or it failed. */
  receive(): { readonly text: string; readonly descriptor?: number } | "end" | number {
    const { bytes, view, address } = this.memory;
    this.header(this.maxBytes, controlBytes);
    const length = this.kernel.recvmsg(this.socket, address + Layout.message, closeOnExec | (this.waits ? 0 : dontWait));
    if (length < 0) return length;
    const hasRights = view.getUint32(Layout.message + 40, true) >= rightsBytes && view.getInt32(Layout.control + 8, true) === socketLevel && view.getInt32(Layout.control + 12, true) === rights;
    const descriptor = hasRights ? view.getInt32(Layout.control + 16, true) : undefined;
    if (length === 0) {
      if (descriptor !== undefined) this.kernel.close(descriptor);
      return "end";
    }
    if ((view.getUint32(Layout.message + 48, true) & (truncated | controlTruncated)) !== 0) {
      if (descriptor !== undefined) this.kernel.close(descriptor);
      return -Errno.messageSize;
    }
    return { text: new TextDecoder().decode(bytes.slice(Layout.body, Layout.body + length)), descriptor };
  }

  private header(length: number, control: number): void {
    const { bytes, view, address } = this.memory;
    bytes.fill(0, Layout.message, Layout.message + 56);
    writePointer(this.memory, Layout.part, address + Layout.body);
    writePointer(this.memory, Layout.part + 8, length);
    writePointer(this.memory, Layout.message + 16, address + Layout.part);
    view.setUint32(Layout.message + 24, 1, true);
    if (control > 0) writePointer(this.memory, Layout.message + 32, address + Layout.control);
    view.setUint32(Layout.message + 40, control, true);
  }
}
