import type { WasmMemory } from "./wasm";

/**
 * The parts of v86 0.5.462 that we use although they are no API: the package is pinned to that version, and
 * `missingInternals` names what a changed version no longer has. Names and shapes are v86's.
 */
export interface V86Cpu {
  readonly memory_size: { readonly [index: number]: number };
  readonly wasm_memory: WasmMemory;
  /** A proxy that makes a view for each access: good for asking, too slow for a loop. */
  readonly mem8: Uint8Array;
  readonly in_hlt: { readonly [index: number]: number };
  readonly instruction_counter: { readonly [index: number]: number };
  readonly devices: V86Devices;
  readonly io: { readonly ports: { write8(value: number): void; write16(value: number): void }[] };
  readonly cr: { readonly [index: number]: number };
  readonly reg32: { readonly [index: number]: number };
  readonly sreg: { readonly [index: number]: number };
  pack_memory(): { bitmap: { get_buffer(): ArrayBuffer }; packed_memory: Uint8Array };
  unpack_memory(bitmap: unknown, packed: Uint8Array): void;
  reboot_internal(): void;
  device_raise_irq(irq: number): void;
  device_lower_irq(irq: number): void;
  jit_dirty_cache(from: number, to: number): void;
  is_memory_zeroed(address: number, length: number): number;
  zero_memory(address: number, length: number): void;
  get_eflags(): number;
  get_real_eip(): number;
  main_loop(): number;
}

export interface V86Devices {
  virtio_net?: { readonly virtio: V86Virtio };
  readonly pci: V86Pci;
  readonly cdrom: { set_cdrom(image: unknown): void; eject(): void; buffer: unknown; medium_changed: number };
  readonly vga: { screen_fill_buffer(): void };
  readonly uart0: V86Uart;
  readonly uart1: V86Uart;
  readonly acpi: { pm1_status: number; readonly gpe: Uint8Array };
}

export interface V86Pci {
  readonly device_spaces: (Int32Array | undefined)[];
  readonly isa_bridge_space8: Uint8Array;
  raise_irq(pciId: number): void;
  lower_irq(pciId: number): void;
}

export interface V86Uart {
  input: number[];
  lsr: number;
  ints: number;
  readonly fifo_control: number;
  ThrowInterrupt(line: number): void;
  data_received(byte: number): void;
}

export interface V86VirtQueue {
  readonly size: number;
  readonly mask: number;
  readonly enabled: boolean;
  readonly desc_addr: number;
  readonly avail_addr: number;
  avail_last_idx: number;
  count_requests(): number;
  avail_get_entry(index: number): number;
  push_reply(chain: { head_idx: number; length_written: number }): void;
  flush_replies(): void;
  get_state(): unknown[];
}

export interface V86Virtio {
  readonly pci_id: number;
  readonly queues: V86VirtQueue[];
  readonly device_status: number;
  isr_status: number;
  constructor: unknown;
  get_state(): unknown[];
  set_state(state: unknown[]): void;
  reset(): void;
  needs_reset(): void;
  notify_config_changes(): void;
  update_config_generation(): void;
  is_feature_negotiated(bit: number): boolean;
}

export interface V86VirtioField {
  readonly bytes: 1 | 2 | 4;
  readonly name: string;
  read(): number;
  write(value: number): void;
}

export interface V86VirtioOptions {
  readonly name: string;
  readonly pci_id: number;
  readonly device_id: number;
  readonly subsystem_device_id: number;
  readonly common: { initial_port: number; queues: { size_supported: number; notify_offset: number }[]; features: number[]; on_driver_ok(): void };
  readonly notification: { initial_port: number; single_handler: boolean; handlers: ((queue: number) => void)[] };
  readonly isr_status: { initial_port: number };
  readonly device_specific: { initial_port: number; struct: V86VirtioField[] };
}

export type V86VirtioClass = new (cpu: V86Cpu, options: V86VirtioOptions) => V86Virtio;

/** The object behind the public one, which runs the processor in slices. */
export interface V86Runner {
  readonly cpu: V86Cpu;
  readonly constructor: unknown;
  run(): void;
  stop(): void;
  next_tick(delay: number): void;
  yield(delay: number, tick: number): void;
  yield_callback(tick: number): void;
  save_state(): ArrayBuffer;
  restore_state(state: ArrayBuffer): void;
}

export interface V86Emulator {
  readonly v86: V86Runner;
  readonly bus: { send(event: string, value: unknown): void };
  add_listener(event: string, listener: (value: never) => void): void;
}

/** The internals above that this emulator does not have, as paths; empty when all is well. Call it once v86 is loaded. */
export function missingInternals(emulator: V86Emulator): string[] {
  const missing: string[] = [];
  const check = (path: string, kind: "function" | "object" | "number"): void => {
    let value: unknown = emulator;
    for (const name of path.split(".")) value = (value as Record<string, unknown> | null | undefined)?.[name];
    if (typeof value !== kind || value === null) missing.push(path);
  };
  const methods = {
    "": ["add_listener"],
    bus: ["send"],
    v86: ["run", "stop", "next_tick", "yield", "yield_callback", "save_state", "restore_state", "constructor.microtick"],
    "v86.cpu": [
      ...["pack_memory", "unpack_memory", "reboot_internal", "device_raise_irq", "device_lower_irq", "jit_dirty_cache"],
      ...["is_memory_zeroed", "zero_memory", "get_eflags", "get_real_eip", "main_loop"],
    ],
    "v86.cpu.devices.pci": ["raise_irq", "lower_irq"],
    "v86.cpu.devices.cdrom": ["set_cdrom", "eject"],
    "v86.cpu.devices.vga": ["screen_fill_buffer"],
    "v86.cpu.devices.uart0": ["ThrowInterrupt", "data_received"],
    "v86.cpu.devices.uart1": ["ThrowInterrupt", "data_received"],
    "v86.cpu.devices.virtio_net.virtio": [
      ...["constructor", "get_state", "set_state", "reset", "needs_reset", "notify_config_changes", "update_config_generation"],
      ...["is_feature_negotiated", "queues.0.count_requests", "queues.0.avail_get_entry", "queues.0.push_reply"],
      ...["queues.0.flush_replies", "queues.0.get_state"],
    ],
    "v86.cpu.io.ports.45060": ["write16"],
    "v86.cpu.io.ports.45024": ["write8"],
    "v86.cpu.io.ports.45025": ["write8"],
  };
  for (const [owner, names] of Object.entries(methods)) {
    for (const name of names) check(owner === "" ? name : `${owner}.${name}`, "function");
  }
  for (const path of [
    ...["wasm_memory", "mem8", "memory_size", "in_hlt", "instruction_counter", "cr", "reg32", "sreg"].map((name) => `v86.cpu.${name}`),
    ...["pci.device_spaces", "pci.isa_bridge_space8", "acpi.gpe", "uart0.input", "uart1.input"].map((name) => `v86.cpu.devices.${name}`),
  ]) {
    check(path, "object");
  }
  for (const path of [
    ...["pci_id", "device_status", "isr_status"].map((name) => `virtio_net.virtio.${name}`),
    ...["size", "mask", "desc_addr", "avail_addr", "avail_last_idx"].map((name) => `virtio_net.virtio.queues.0.${name}`),
    ...["uart0.lsr", "uart0.ints", "uart0.fifo_control", "acpi.pm1_status", "cdrom.medium_changed"],
  ]) {
    check(`v86.cpu.devices.${path}`, "number");
  }
  return missing;
}
