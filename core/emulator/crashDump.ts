import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Hardware } from "./hardware";
import { saveMachine } from "./machineState";
import type { VirtualClock } from "./virtualClock";

/** The files of a crash dump, for developers: what failed, the processor, the last serial output, and the state. */
export const dumpFiles = { report: "crash.txt", state: "crash.state" };

const generalRegisters = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const segmentRegisters = ["es", "cs", "ss", "ds", "fs", "gs"];

/** The processor's registers, one line each. */
export function describeRegisters(hardware: Hardware): string {
  const { cpu } = hardware;
  const hex = (value: number | undefined, digits = 8): string => ((value ?? 0) >>> 0).toString(16).padStart(digits, "0");
  return [
    `eip ${hex(cpu.get_real_eip())}  eflags ${hex(cpu.get_eflags())}`,
    generalRegisters.map((name, index) => `${name} ${hex(cpu.reg32[index])}`).join("  "),
    segmentRegisters.map((name, index) => `${name} ${hex(cpu.sreg[index], 4)}`).join("  "),
    [0, 2, 3, 4].map((index) => `cr${index} ${hex(cpu.cr[index])}`).join("  "),
    `instructions ${cpu.instruction_counter[0] ?? 0}`,
  ].join("\n");
}

export interface CrashReport {
  readonly message: string;
  readonly stack: string;
  readonly registers: string;
  /** The last output of serial port 0. */
  readonly serial: Uint8Array;
}

export function writeReport(directory: string, report: CrashReport): void {
  mkdirSync(directory, { recursive: true });
  const parts = [
    `The emulator failed: ${report.message}`,
    report.stack,
    `Processor\n${report.registers || "not available"}`,
    `Last serial output\n${new TextDecoder().decode(report.serial)}`,
  ];
  writeFileSync(join(directory, dumpFiles.report), `${parts.join("\n\n")}\n`);
}

/** Saves what can be saved of a crashed machine's state. */
export async function writeDump(hardware: Hardware, clock: VirtualClock, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await saveMachine(hardware, clock, join(directory, dumpFiles.state), true, { progress: () => undefined, isCancelled: () => false });
}
