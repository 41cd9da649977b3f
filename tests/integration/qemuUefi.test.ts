import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cloudGuestReady, makeBootableIso, makeCloudGuest } from "../support/guestPackages";
import { realRuntime, TestHost } from "../support/host";
import { SerialShell } from "../support/serialShell";
import { silentLog } from "../../core/base/log";

describe("a machine with UEFI that starts Debian's kernel from a CD", () => {
  let test: TestHost;
  let files = "";
  let id = "";
  let shell: SerialShell;
  /** The host's file that the machine's variables are made from. */
  let before: { path: string; hash: string };

  const boot = async (): Promise<void> => {
    await test.start(id);
    shell = new SerialShell(await test.host.openStream({ stream: "serial", id }));
    await shell.until(cloudGuestReady);
  };
  const template = async (): Promise<{ path: string; hash: string }> => {
    const qemu = await realRuntime.findQemu({ runDir: files, log: silentLog });
    if (!qemu.ok || qemu.value.firmware === undefined) throw new Error("there is no UEFI firmware");
    const path = qemu.value.firmware.variables;
    return { path, hash: createHash("sha256").update(await readFile(path)).digest("hex") };
  };

  beforeAll(async () => {
    files = await mkdtemp(join(tmpdir(), "tt-uefi-"));
    test = await TestHost.open();
    const cloud = await makeCloudGuest(files);
    const iso = join(files, "uefi.iso");
    await makeBootableIso(iso, { bios: cloud, uefi: cloud });
    ({ id } = await test.create("uefi", {
      engine: "qemu",
      arch: "x86_64",
      hardware: { firmware: "uefi" },
      boot: { kind: "firmware", order: "cd" },
      medium: iso,
    }));
  });
  afterAll(async () => {
    await test.dispose();
    await rm(files, { recursive: true, force: true });
  });

  const variable = "/sys/firmware/efi/efivars/Glass-5d3b1c7e-9a42-4c0e-8f11-6b2a7d9e0c35";

  it("is given 64-bit firmware with variables, which the guest can add to", async () => {
    before = await template();
    await boot();
    expect(await shell.run("cat /proc/cmdline; cat /sys/firmware/efi/fw_platform_size")).toMatch(/^BOOT_IMAGE=\/boot\/efi-kernel .*\n64$/);
    expect(await shell.run("mount -t efivarfs vars /sys/firmware/efi/efivars; ls /sys/firmware/efi/efivars | grep -c ^BootOrder")).toBe("1");
    // Non-volatile, for the firmware and the system (UEFI 2.10, 8.2 GetVariable); then the value.
    await shell.run(`test ! -e ${variable}; printf '\\007\\000\\000\\000behind glass' > ${variable}`);
    await test.host.call("machine.powerOff", { id });
  });

  it("keeps them over a pulled plug in a file of its own, and the host's template as it was", async () => {
    await boot();
    expect(await shell.run(`mount -t efivarfs vars /sys/firmware/efi/efivars; tail -c +5 ${variable}`)).toBe("behind glass");
    await test.host.call("machine.powerOff", { id });
    const own = join((await test.get(id)).folder, "nvram", "variables.qcow2");
    expect(execFileSync("qemu-img", ["check", own], { encoding: "utf8" })).toContain("No errors were found");
    expect(await template()).toEqual(before);
  });
});

describe("a machine with UEFI and the least memory that is allowed for it", () => {
  it("comes as far as to look for something to start", async () => {
    const test = await TestHost.open();
    try {
      const { id } = await test.create("least", { engine: "qemu", arch: "x86_64", memoryMiB: 64, hardware: { firmware: "uefi" }, boot: { kind: "firmware", order: "cd" }, disks: [{ sizeBytes: 1 << 20, bus: "scsi" }, { sizeBytes: 1 << 20, bus: "sata" }, { sizeBytes: 1 << 20 }] });
      await test.start(id);
      await new SerialShell(await test.host.openStream({ stream: "serial", id })).until(/UEFI Interactive Shell|No bootable option/);
      await test.host.call("machine.powerOff", { id });
      await expect(test.host.call("machine.set", { id, patch: { memoryMiB: 63 } })).rejects.toMatchObject({ code: "invalid-input", message: expect.stringContaining("UEFI does not start") as string });
    } finally {
      await test.dispose();
    }
  });
});
