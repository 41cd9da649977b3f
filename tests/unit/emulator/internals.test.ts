import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { V86 } from "v86";
import { missingInternals, type V86Emulator } from "../../../core/emulator/v86Internals";

/** v86's parts that we use are no API: this is where a new version of it shows what it has changed. */
async function load(): Promise<V86Emulator> {
  const wasm = readFileSync(join(dirname(createRequire(import.meta.url).resolve("v86")), "v86.wasm"));
  const emulator = new V86({
    wasm_fn: async (imports: WebAssembly.Imports) => (await WebAssembly.instantiate(wasm, imports)).instance.exports,
    memory_size: 16 * 1024 * 1024,
    net_device: { type: "virtio" },
    uart1: true,
    acpi: true,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  } as never) as unknown as V86Emulator;
  await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
  return emulator;
}

describe("the internals of v86 that we use", () => {
  it("are all there", async () => {
    expect(missingInternals(await load())).toEqual([]);
  });

  it("are named when they are gone", async () => {
    const emulator = await load();
    const cpu = emulator.v86.cpu as unknown as Record<string, unknown>;
    cpu.reboot_internal = undefined;
    (emulator.v86.cpu.devices.pci as unknown as Record<string, unknown>).lower_irq = undefined;
    (emulator.v86.cpu.devices.uart0 as unknown as Record<string, unknown>).lsr = undefined;
    expect(missingInternals(emulator)).toEqual(["v86.cpu.reboot_internal", "v86.cpu.devices.pci.lower_irq", "v86.cpu.devices.uart0.lsr"]);
  });

  it("are checked on the exact version that is pinned", () => {
    const require = createRequire(import.meta.url);
    const { version } = require("v86/package.json") as { version: string };
    expect(version).toBe("0.5.462+g5f9a90f");
  });
});
