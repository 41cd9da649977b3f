import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { cloudGuestFiles } from "../../build/launcher/debianGuests.mjs";
import { writeCpio } from "../../build/starter/cpio.mjs";
import { findModules, loadOrder } from "../../build/starter/modules.mjs";
import { busyboxApplets } from "../../build/starter/rootfs.mjs";

const run = promisify(execFile);

/** A kernel with what it starts from: files on the host. */
export interface KernelFiles {
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
}

/** What the cloud guest says on its first serial port when it takes commands. */
export const readyWords = "the guest takes commands";
export const cloudGuestReady = new RegExp(`${readyWords}\\r?\\n`);

/** Drivers for the hardware of a machine, as far as Debian's cloud kernel has any. */
const modules = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "sd_mod", "isofs", "efivarfs"];

/** Commands come from the serial port and answers go there; nothing is echoed. */
const init = `#!/bin/sh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read module; do insmod "$module"; done < /modules
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
stty -echo
echo "${readyWords}"
while read -r line; do eval "$line"; done
`;

/** Debian's cloud kernel with an initial ramdisk of busybox and drivers, written to `folder`. */
export async function makeCloudGuest(folder: string): Promise<KernelFiles> {
  const files = cloudGuestFiles();
  const drivers = cloudGuestModules(files.modules);
  const busybox = readFileSync(files.busybox);
  const tree = new Map() as Parameters<typeof writeCpio>[0];
  const file = (path: string, content: Buffer | string, mode = 0o755): void => void tree.set(path, { type: "file", content: Buffer.from(content), mode });
  for (const path of ["/dev", "/proc", "/sys", "/mnt", "/tmp"]) tree.set(path, { type: "directory", mode: 0o755 });
  tree.set("/dev/console", { type: "character", mode: 0o600, major: 5, minor: 1 });
  file("/bin/busybox", busybox);
  for (const applet of busyboxApplets(busybox)) if (applet !== "busybox") tree.set(`/bin/${applet}`, { type: "link", target: "busybox" });
  for (const { name, content } of drivers) file(`/lib/modules/${name}.ko`, content, 0o644);
  file("/modules", drivers.map(({ name }) => `/lib/modules/${name}.ko\n`).join(""), 0o644);
  file("/init", init);
  const initrd = join(folder, "cloud-initrd.cpio");
  await writeFile(initrd, writeCpio(tree));
  return { kernel: files.kernel, initrd, cmdline: "console=tty0 console=ttyS0 quiet" };
}

/** The drivers of a guest with the cloud kernel, each after those it needs. */
export function cloudGuestModules(folder: string): { readonly name: string; readonly content: Buffer }[] {
  const found = findModules(folder);
  const inOrder = [...loadOrder({ all: modules }, (name) => {
    const path = found.get(name);
    return path === undefined ? undefined : moduleDependencies(readFileSync(path));
  }).dependencies.keys()] as string[];
  return inOrder.map((name) => ({ name, content: readFileSync(found.get(name) ?? "") }));
}

/** A module's own word on what it needs (Linux, include/linux/module.h: MODULE_INFO(depends)). */
function moduleDependencies(bytes: Buffer): string[] {
  const [, names = ""] = /\0depends=([^\0]*)\0/.exec(bytes.toString("latin1")) ?? [];
  return names.split(",").filter((name) => name !== "").map((name) => name.replaceAll("-", "_"));
}

/** A CD that a BIOS boots into one kernel and UEFI into another, made by GRUB's own tool. */
export async function makeBootableIso(file: string, kernels: { bios: KernelFiles; uefi: KernelFiles }): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tt-iso-"));
  try {
    await mkdir(join(folder, "boot", "grub"), { recursive: true });
    const entries: string[] = [];
    for (const [platform, { kernel, initrd, cmdline }] of [["pc", kernels.bios], ["efi", kernels.uefi]] as const) {
      await copyFile(kernel, join(folder, "boot", `${platform}-kernel`));
      await copyFile(initrd, join(folder, "boot", `${platform}-initrd`));
      entries.push(`if [ "$grub_platform" = ${platform} ]; then\n  linux /boot/${platform}-kernel ${cmdline}\n  initrd /boot/${platform}-initrd\n  boot\nfi\n`);
    }
    await writeFile(join(folder, "boot", "grub", "grub.cfg"), entries.join(""));
    await run("grub-mkrescue", ["-o", file, "--fonts=", "--locales=", "--themes=", folder]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
