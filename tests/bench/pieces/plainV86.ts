import { fork, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { V86 } from "v86";
import { checkout, guestFile } from "../../support/emulatorProcess";
import { GrowingText, type GuestLine } from "./guestLine";

/*
 * v86 as its package comes, in a Node process of its own with nothing of Terrarium around it: what our machine process
 * is compared with. Same memory, firmware, kernel, initial ramdisk and kernel command line.
 */

/** The argument that makes the bench's program such a process instead of the bench. */
export const plainArgument = "--plain-v86";

type ToPlain = { readonly send: string } | { readonly motion: "run" | "stop" };
type FromPlain = { readonly output: string } | { readonly moved: "run" | "stop" };

interface PlainEmulator {
  run(): Promise<void> | void;
  stop(): Promise<void> | void;
  add_listener(event: string, listener: (byte: number) => void): void;
  serial_send_bytes(port: number, bytes: Uint8Array): void;
}

/** The body of the process. */
export function bePlainV86(memoryMiB: number): void {
  const { cmdline } = JSON.parse(readFileSync(guestFile("guest.json"), "utf8")) as { cmdline: string };
  const buffer = (name: string): { buffer: ArrayBuffer } => {
    const bytes = readFileSync(guestFile(name));
    return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer };
  };
  const emulator = new V86({
    wasm_path: join(checkout, "node_modules/v86/build/v86.wasm"),
    memory_size: memoryMiB << 20,
    bios: buffer("bios.bin"),
    vga_bios: buffer("vgabios.bin"),
    bzimage: buffer("kernel-fast.bin"),
    initrd: buffer("initrd.cpio"),
    cmdline,
    uart1: true,
    acpi: true,
    net_device: { type: "virtio" },
    autostart: true,
  } as never) as unknown as PlainEmulator;

  const tell = (message: FromPlain): void => void process.send?.(message);
  let output = "";
  emulator.add_listener("serial0-output-byte", (byte) => {
    if (output === "") {
      setImmediate(() => {
        tell({ output });
        output = "";
      });
    }
    output += String.fromCharCode(byte);
  });
  process.on("message", (message: ToPlain) => {
    if ("send" in message) emulator.serial_send_bytes(0, Buffer.from(message.send, "latin1"));
    else void Promise.resolve(emulator[message.motion]()).then(() => tell({ moved: message.motion }));
  });
  process.on("disconnect", () => process.exit(0));
}

/** Such a process, seen from the bench. */
export class PlainV86 implements GuestLine {
  private readonly output = new GrowingText();
  private moved: (() => void) | undefined;

  private constructor(private readonly child: ChildProcess) {
    child.on("message", (message: FromPlain) => {
      if ("output" in message) this.output.add(message.output);
      else this.moved?.();
    });
    child.on("exit", (code, signal) => this.output.fail(new Error(`the plain emulator ended with ${String(code ?? signal)}`)));
  }

  static start(memoryMiB: number): PlainV86 {
    return new PlainV86(fork(__filename, [plainArgument, String(memoryMiB)], { stdio: ["ignore", "ignore", "inherit", "ipc"], execArgv: [] }));
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error("the plain emulator was not started");
    return this.child.pid;
  }

  get text(): string {
    return this.output.text;
  }

  send(text: string): void {
    this.child.send({ send: text } satisfies ToPlain);
  }

  until(pattern: RegExp, from?: number): Promise<RegExpExecArray> {
    return this.output.until(pattern, from);
  }

  async move(motion: "run" | "stop"): Promise<void> {
    const moved = new Promise<void>((resolve) => (this.moved = resolve));
    this.child.send({ motion } satisfies ToPlain);
    await moved;
  }

  async end(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()));
    this.child.disconnect();
    await ended;
  }
}
