import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readStarter } from "../../core/machine/starter";
import { cloudGuestReady, makeBootableIso, makeCloudGuest, type KernelFiles } from "../support/guestPackages";
import { realRuntime, TestHost } from "../support/host";
import { openRfb, pixelsOf, untilPicture } from "../support/rfbScreenText";
import { ScreenReader } from "../support/screenReader";
import { SerialShell } from "../support/serialShell";

/*
 * Guests that nobody here wrote, on real QEMU through the host service. Without KVM a boot takes seconds, so tests of one
 * guest go on where the one before it left the machine.
 */
let test: TestHost;
let files = "";
let cloud: KernelFiles;

beforeAll(async () => {
  files = await mkdtemp(join(tmpdir(), "tt-guests-"));
  test = await TestHost.open();
  cloud = await makeCloudGuest(files);
});
afterAll(async () => {
  await test.dispose();
  await rm(files, { recursive: true, force: true });
});

const MiB = 1024 * 1024;

describe("a bootable CD that Debian's tools have made", () => {
  it("is booted by the BIOS, and starts the starter guest", async () => {
    const { guest } = await readStarter(realRuntime.guestDir);
    if (guest?.stockKernel === undefined) throw new Error("there is no starter guest");
    const iso = join(files, "bios.iso");
    await makeBootableIso(iso, { bios: { kernel: guest.stockKernel, initrd: guest.initrd, cmdline: guest.cmdline }, uefi: cloud });
    const { id } = await test.create("from a CD", { engine: "qemu", boot: { kind: "firmware", order: "cd" }, medium: iso, disks: [] });
    await test.start(id);
    await test.untilAnswering(id);
    expect(await test.shell(id, "cat /proc/cmdline; ls /sys/firmware/efi 2>&1 | grep -c such")).toMatch(/^BOOT_IMAGE=\/boot\/pc-kernel .*\n1$/);
    await test.host.call("machine.powerOff", { id });
  });
});

describe("Debian's cloud kernel on QEMU, with two processors and two adapters", () => {
  let id = "";
  let shell: SerialShell;
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Xo0vVZ0x1n1cZl0P0x8m3lqk6w3n0u9d8s7a6f5e4 glass@host";

  beforeAll(async () => {
    ({ id } = await test.create("cloud", {
      engine: "qemu",
      arch: "x86_64",
      cpus: 2,
      boot: { kind: "kernel", ...cloud },
      disks: [{ sizeBytes: 96 * MiB }, { sizeBytes: 32 * MiB, bus: "scsi" }],
      adapters: [
        { attachment: { mode: "none" }, mac: "52:54:00:aa:bb:01" },
        { attachment: { mode: "none" }, mac: "52:54:00:aa:bb:02" },
      ],
      seed: { user: "glass", hostname: "behind-glass", authorizedKeys: [key] },
    }));
    await test.start(id);
    shell = new SerialShell(await test.host.openStream({ stream: "serial", id }));
    await shell.until(cloudGuestReady);
  });

  it("sees both processors, 64 bits wide", async () => {
    expect(await shell.run("uname -m; nproc; grep -c '^processor' /proc/cpuinfo; grep -c '^physical id.*: 0' /proc/cpuinfo")).toBe("x86_64\n2\n2\n2");
  });

  it("sees the memory it was given", async () => {
    const total = Number(await shell.run("awk '/MemTotal/ { print $2 }' /proc/meminfo")) / 1024;
    expect(total).toBeGreaterThan(200);
    expect(total).toBeLessThan(256);
  });

  it("sees both adapters with the addresses of the configuration, in its order", async () => {
    expect(await shell.run("cat /sys/class/net/eth0/address /sys/class/net/eth1/address")).toBe("52:54:00:aa:bb:01\n52:54:00:aa:bb:02");
    expect(await shell.run("for card in eth0 eth1; do basename $(readlink /sys/class/net/$card/device/driver); done")).toBe("virtio_net\nvirtio_net");
  });

  it("finds its disks by their serial numbers, and what it writes", async () => {
    // Disks on SCSI get their letters in the order in which they happen to answer.
    await shell.run("until scsi=$(grep -l disk1 /sys/block/sd*/device/vpd_pg80 2>/dev/null); do usleep 50000; done; basename ${scsi%/device/vpd_pg80} > /tmp/scsi");
    expect(await shell.run("cat /sys/block/vda/serial; echo; cat /sys/block/vda/size /sys/block/$(cat /tmp/scsi)/size")).toBe(`disk0\n${(96 * MiB) / 512}\n${(32 * MiB) / 512}`);
    await shell.run("dd if=/dev/urandom of=/tmp/data bs=64k count=16; for disk in vda $(cat /tmp/scsi); do dd if=/tmp/data of=/dev/$disk bs=64k seek=8 conv=fsync; done; echo 3 > /proc/sys/vm/drop_caches");
    expect(await shell.run("for disk in vda $(cat /tmp/scsi); do dd if=/dev/$disk bs=64k skip=8 count=16 2>/dev/null | cmp - /tmp/data && echo same; done")).toBe("same\nsame");
  });

  it("finds the first settings of a cloud image on a disc by its label, and cannot change them", async () => {
    // ECMA-119 8.4.7: the volume's label is 40 bytes into its first descriptor, which is in the sector 16.
    await shell.run("label() { dd if=/dev/$1 bs=1 skip=32808 count=6 2>/dev/null; }; until [ -e /tmp/seed ]; do for disk in $(ls /sys/block); do if [ \"$(label $disk)\" = cidata ]; then echo /dev/$disk > /tmp/seed; fi; done; done");
    const listed = await shell.run("mount -t iso9660 -o ro $(cat /tmp/seed) /mnt && ls -1 /mnt");
    expect(listed.split("\n")).toEqual(expect.arrayContaining(["meta-data", "user-data"]));
    expect(await shell.run("cat /mnt/meta-data")).toContain('local-hostname: "behind-glass"');
    const settings = await shell.run("cat /mnt/user-data; umount /mnt");
    expect(settings).toMatch(/^#cloud-config\n/);
    expect(settings).toContain('name: "glass"');
    expect(settings).toContain(`- ${JSON.stringify(key)}`);
    expect(await shell.run("cat /sys/class/block/$(basename $(cat /tmp/seed))/ro")).toBe("1");
  });

  it("shows one screen in every encoding of RFB, whose letters can be read", async () => {
    const reader = new ScreenReader();
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 :.!";
    const write = (text: string): Promise<string> => shell.run(`printf '\\033[2J\\033[H\\033[?25l%s\\n' '${text}' > /dev/tty1`);
    const raw = await openRfb(await test.host.openStream({ stream: "display", id }), 0);
    await write(alphabet);
    await untilPicture(raw, (pixels) => reader.learnAnywhere(pixels, alphabet));
    expect([raw.width, raw.height]).toEqual([720, 400]);

    const sentence = "Seen through QEMU: 2 processors and 2 adapters!";
    await write(sentence);
    raw.request(true);
    await untilPicture(raw, (pixels) => reader.readRow(pixels, 0) === sentence);
    for (const encoding of [6, 16]) {
      const client = await openRfb(await test.host.openStream({ stream: "display", id }), encoding);
      await untilPicture(client, (pixels) => reader.readRow(pixels, 0) === sentence);
      expect([...client.encodings.keys()]).toContain(encoding);
      expect(Buffer.compare(Buffer.from(pixelsOf(client).data), Buffer.from(pixelsOf(raw).data))).toBe(0);
      client.stream.destroy();
    }
    raw.stream.destroy();
  });

  it("is off when it has powered itself off", async () => {
    shell.send("poweroff -f");
    expect(await test.until(id, (machine) => machine.state === "off")).toMatchObject({ state: "off" });
  });
});
