import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A guest directory that is complete in form; its files hold `megabytes` each. */
export async function makeGuestDirectory(path: string, initrdMegabytes = 1): Promise<void> {
  await mkdir(path, { recursive: true });
  const files: Record<string, { sha256: string; size: number }> = {};
  for (const [name, size] of [["kernel-fast.bin", 100], ["vmlinuz", 90], ["initrd.cpio", initrdMegabytes * 1024 * 1024], ["bios.bin", 64], ["vgabios.bin", 32]] as const) {
    await writeFile(join(path, name), Buffer.alloc(size, 1));
    files[name] = { sha256: "0".repeat(64), size };
  }
  await writeFile(join(path, "guest.json"), JSON.stringify({ build: "abc123", kernelVersion: "6.1.0", cmdline: "quiet", files }));
}
