// The starter guest on plain v86, without anything of Terrarium around it: for measuring the guest alone and for seeing
// whether a fault is the guest's or the emulator process's.
//
//   node tests/support/bareGuest.mjs [--stock] [--memory MIB] [--append TEXT] [--serial] [REQUEST...]
//
// Boots, waits for the agent, sends each REQUEST (one JSON object, or a bare command name) and prints answers and times.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { guestDirectory } from "../../build/launcher/paths.mjs";
import { V86 } from "v86";

/** @param {{ kernel?: string, memory?: number, append?: string, directory?: string }} options memory in MiB */
export async function bootBareGuest({ kernel = "kernel-fast.bin", memory = 256, append = "", directory = guestDirectory } = {}) {
  const manifest = JSON.parse(readFileSync(join(directory, "guest.json"), "utf8"));
  const buffer = (name) => {
    const bytes = readFileSync(join(directory, name));
    return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
  };
  const started = performance.now();
  const emulator = new V86({
    wasm_path: join(directory, "../../node_modules/v86/build/v86.wasm"),
    memory_size: memory << 20,
    vga_memory_size: 8 << 20,
    bios: buffer("bios.bin"),
    vga_bios: buffer("vgabios.bin"),
    bzimage: buffer(kernel),
    initrd: buffer("initrd.cpio"),
    cmdline: `${manifest.cmdline} ${append}`.trim(),
    uart1: true,
    acpi: true,
    net_device: { type: "virtio" },
    autostart: true,
    disable_speaker: true,
  });
  const serial = collector();
  const agent = collector();
  emulator.add_listener("serial0-output-byte", serial.push);
  emulator.add_listener("serial1-output-byte", agent.push);
  const request = async (message) => {
    const seen = agent.text.length;
    emulator.serial_send_bytes(1, new TextEncoder().encode(`${JSON.stringify(message)}\n`));
    await agent.until((text) => text.indexOf("\n", seen) >= 0);
    return JSON.parse(agent.text.slice(seen, agent.text.indexOf("\n", seen)));
  };
  return { emulator, serial, agent, request, started };
}

function collector() {
  const waiting = new Set();
  const self = {
    text: "",
    push: (byte) => {
      self.text += String.fromCharCode(byte);
      for (const look of waiting) look();
    },
    until: (accepts) =>
      new Promise((resolve) => {
        const look = () => {
          if (!accepts(self.text)) return;
          waiting.delete(look);
          resolve(self.text);
        };
        waiting.add(look);
        look();
      }),
  };
  return self;
}

async function main() {
  const args = process.argv.slice(2);
  const take = (name) => (args.includes(name) ? args.splice(args.indexOf(name), 2)[1] : undefined);
  const flag = (name) => args.includes(name) && args.splice(args.indexOf(name), 1).length === 1;
  const guest = await bootBareGuest({
    kernel: flag("--stock") ? "vmlinuz" : undefined,
    memory: Number(take("--memory") ?? 256),
    append: take("--append") ?? "",
  });
  if (flag("--serial")) guest.emulator.add_listener("serial0-output-byte", (byte) => process.stdout.write(String.fromCharCode(byte)));
  const since = () => {
    const { user, system } = process.cpuUsage();
    const instructions = guest.emulator.get_instruction_counter();
    return `${((performance.now() - guest.started) / 1000).toFixed(2)} s (${((user + system) / 1e6).toFixed(2)} s of processor, ${(instructions / 1e6).toFixed(0)} million instructions)`;
  };
  // Until it listens, what is sent to a serial port is lost.
  let answered = false;
  const knock = setInterval(() => {
    if (!answered) guest.emulator.serial_send_bytes(1, new TextEncoder().encode('{"execute":"guest-ping"}\n'));
  }, 50);
  void guest.serial.until((text) => text.includes("# ")).then(() => console.log(`${since()}: prompt on serial 0`));
  await guest.agent.until((text) => text.includes("\n"));
  answered = true;
  clearInterval(knock);
  console.log(`${since()}: agent answers`);
  let drained = -1;
  while (drained !== guest.agent.text.length) {
    drained = guest.agent.text.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  for (const text of args) {
    const message = text.startsWith("{") ? JSON.parse(text) : { execute: text };
    const before = performance.now();
    const answer = await guest.request(message);
    console.log(`${(performance.now() - before).toFixed(0)} ms: ${JSON.stringify(answer)}`);
    if (answer.return?.pid !== undefined) {
      let status;
      do status = (await guest.request({ execute: "guest-exec-status", arguments: { pid: answer.return.pid } })).return;
      while (!status.exited);
      for (const stream of ["out-data", "err-data"]) console.log(Buffer.from(status[stream] ?? "", "base64").toString());
      console.log(`${(performance.now() - before).toFixed(0)} ms: exit ${status.exitcode}`);
    }
  }
  await guest.emulator.destroy();
  process.exit(0);
}

if (process.argv[1] === new URL(import.meta.url).pathname) await main();
