import { describe, expect, it } from "vitest";
import { systemById, systemOfDisk, systemOfIso, systems, wellKnownFiles, type IsoEvidence } from "../../../core/machine/systems";

const iso = (evidence: Partial<IsoEvidence>): string | undefined => systemOfIso({ fileName: "image.iso", files: new Set(), ...evidence })?.id;

describe("the guest systems", () => {
  it("have ids of their own and hardware that can be", () => {
    expect(new Set(systems.map((system) => system.id)).size).toBe(systems.length);
    expect(new Set(systems.map((system) => system.label + system.arch)).size).toBe(systems.length);
    for (const system of systems) {
      expect(system.id, system.id).toMatch(/^[a-z0-9.-]+-(amd64|i386)$/);
      expect(system.diskBytes % 512, system.id).toBe(0);
      expect(system.memoryMiB, system.id).toBeGreaterThanOrEqual(64);
    }
  });

  it("are 32-bit only where there ever was such a release", () => {
    const ids = systems.filter(({ arch }) => arch === "i386").map(({ id }) => id);
    for (const gone of ["ubuntu-26.04", "ubuntu-24.04", "ubuntu-20.04", "linuxmint-22", "linuxmint-20", "debian-13", "freebsd-15", "fedora-44"]) expect(ids).not.toContain(`${gone}-i386`);
    expect(ids).toEqual(expect.arrayContaining(["ubuntu-18.04-i386", "ubuntu-i386", "linuxmint-i386", "debian-12-i386", "freebsd-14-i386", "windows-7-i386", "windows-10-i386"]));
    // A file name that says what cannot be: the system there is.
    expect(iso({ fileName: "ubuntu-24.04-desktop-i386.iso" })).toBe("ubuntu-24.04-amd64");
  });

  it("give Windows what it has drivers for", () => {
    const machines = systems.filter((system) => system.group === "Windows");
    expect(machines.length).toBeGreaterThan(5);
    for (const system of machines) expect(system, system.id).toMatchObject({ diskBus: "sata", adapterModel: "e1000", clock: "local" });
    expect(systemById("windows-11-amd64")).toMatchObject({ firmware: "uefi", memoryMiB: 4096, cpus: 2 });
    expect(systemById("debian-12-amd64")).toMatchObject({ label: "Debian 12", arch: "x86_64", diskBus: "virtio", adapterModel: "virtio", clock: "utc" });
    expect(systemById("nonsense")).toBeUndefined();
  });

  // Labels as the makers' images carry them.
  it.each([
    ["Debian 12.0.0 amd64 n", "debian-12-amd64"],
    ["Debian 10.0.0 i386 1", "debian-10-i386"],
    ["Debian 19.1.0 amd64 n", "debian-amd64"],
    ["d-live 12.10.0 gn amd64", "debian-12-amd64"],
    ["Ubuntu-Server 24.04 LTS amd64", "ubuntu-24.04-amd64"],
    ["Ubuntu-Server 16.04 LTS i386", "ubuntu-i386"],
    ["Linux Mint 21.3 Cinnamon 64-bit", "linuxmint-21-amd64"],
    ["Kali Linux amd64 1", "kali-amd64"],
    ["Fedora-WS-Live-40-1-14", "fedora-40-amd64"],
    ["Fedora-S-dvd-x86_64-40", "fedora-40-amd64"],
    ["AlmaLinux-9-4-x86_64-dvd", "almalinux-9-amd64"],
    ["Rocky-9-0-x86_64-dvd", "rocky-9-amd64"],
    ["Rocky-10-0-x86_64-dvd", "rocky-10-amd64"],
    ["CentOS-Stream-9-BaseOS-x86_64", "centos-stream-9-amd64"],
    ["RHEL-9-4-0-BaseOS-x86_64", "rhel-9-amd64"],
    ["openSUSE-Leap-15.6-DVD-x86_64710", "opensuse-leap-15.6-amd64"],
    ["openSUSE-Tumbleweed-DVD-x86_6420", "opensuse-tumbleweed-amd64"],
    ["ARCH_202406", "archlinux-amd64"],
    ["alpine-virt 3.20.8 x86_64", "alpine-amd64"],
    ["alpine-std 3.20.8 x86", "alpine-i386"],
    ["nixos-minimal-23.05-x86_64", "nixos-amd64"],
    ["Gentoo-amd64-20240601T170407Z", "gentoo-amd64"],
    ["13_2_RELEASE_AMD64_CD", "freebsd-13-amd64"],
    ["13_2_RELEASE_I386_DVD", "freebsd-13-i386"],
    ["OpenBSD/amd64   7.3 Install CD", "openbsd-7-amd64"],
    ["NETBSD_90", "netbsd-9-amd64"],
    ["NETBSD_101", "netbsd-10-amd64"],
    ["CCCOMA_X64FRE_EN-US_DV9", "windows-10-or-11-amd64"],
    ["CCSA_X86FRE_DE-DE_DV5", "windows-10-i386"],
    ["GSP1RMCNULXFRER_EN_DVD", "windows-7-amd64"],
    ["GRMCULFRER_EN_DVD", "windows-7-i386"],
    ["SSS_X64FREE_EN-US_DV9", "windows-server-amd64"],
    ["ReactOS", "reactos-i386"],
    ["FD13-LiveCD", "freedos-i386"],
    ["Holiday pictures", undefined],
    ["", undefined],
  ])("are recognised by the label %j", (label, id) => {
    expect(iso({ label })).toBe(id);
    if (id !== undefined) expect(systemById(id)).toBeDefined();
  });

  it("are not recognised for a processor that no machine has", () => {
    for (const label of ["Debian 12.0.0 arm64 n", "CentOS-Stream-9-BaseOS-aarch64", "CCCOMA_A64FRE_EN-US_DV9", "alpine-std 3.20.8 s390x"]) expect(iso({ label }), label).toBeUndefined();
    expect(iso({ label: "VOID_LIVE", fileName: "void-live-aarch64-20240314-base.iso" })).toBeUndefined();
    expect(systemOfDisk("debian-12-genericcloud-arm64.qcow2")).toBeUndefined();
  });

  it("are recognised by what the disc says of itself before its label", () => {
    expect(iso({ info: 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:28', label: "My own disc" })).toBe("debian-12-amd64");
    expect(iso({ info: 'Ubuntu 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (20230807.2)' })).toBe("ubuntu-22.04-amd64");
    expect(iso({ info: 'Ubuntu-Server 24.04 LTS "Noble Numbat" - Release amd64 (20240423)' })).toBe("ubuntu-24.04-amd64");
    expect(iso({ info: 'Linux Mint 21.3 "Virginia" - Release amd64 20240111', files: new Set(["/casper/vmlinuz"]) })).toBe("linuxmint-21-amd64");
    expect(iso({ treeInfo: "[general]\narch = x86_64\nfamily = Rocky Linux\nname = Rocky Linux 9.4\nversion = 9.4\n" })).toBe("rocky-9-amd64");
    expect(iso({ treeInfo: "[general]\narch = aarch64\nfamily = Fedora\nversion = 40\n" })).toBeUndefined();
  });

  it("are recognised by their files when nothing else tells", () => {
    expect(iso({ files: new Set(["/install.386/vmlinuz"]) })).toBe("debian-i386");
    expect(iso({ files: new Set(["/arch/boot/x86_64/vmlinuz-linux"]) })).toBe("archlinux-amd64");
    expect(iso({ files: new Set(["/.alpine-release", "/EFI/BOOT/BOOTX64.EFI"]) })).toBe("alpine-amd64");
    expect(iso({ files: new Set(["/boot/core.gz"]) })).toBe("tinycore-i386");
    expect(iso({ files: new Set(["/live/vmlinuz"]) })).toBe("linux-amd64");
    for (const path of wellKnownFiles) expect(path).toMatch(/^\//);
  });

  it("take from the file's name what the label leaves out", () => {
    expect(iso({ label: "CCCOMA_X64FRE_EN-US_DV9", fileName: "Win11_23H2_English_x64v2.iso" })).toBe("windows-11-amd64");
    expect(iso({ label: "CCCOMA_X64FRE_EN-US_DV9", fileName: "Win10_22H2_English_x64v1.iso" })).toBe("windows-10-amd64");
    expect(iso({ label: "SSS_X64FREE_EN-US_DV9", fileName: "en-us_windows_server_2022_x64_dvd.iso" })).toBe("windows-server-2022-amd64");
    expect(iso({ label: "VOID_LIVE", fileName: "void-live-i686-20240314-base.iso" })).toBe("void-i386");
    expect(iso({ label: "NETBSD_90", fileName: "NetBSD-9.0-i386.iso" })).toBe("netbsd-9-i386");
    // A label is worth more than a name that someone gave the file.
    expect(iso({ label: "Debian 12.0.0 amd64 n", fileName: "Win11_x64.iso" })).toBe("debian-12-amd64");
  });

  it.each([
    ["debian-12-genericcloud-amd64.qcow2", "debian-12-amd64"],
    ["debian-13-nocloud-amd64.raw", "debian-13-amd64"],
    ["jammy-server-cloudimg-amd64.img", "ubuntu-22.04-amd64"],
    ["ubuntu-24.04-minimal-cloudimg-amd64.img", "ubuntu-24.04-amd64"],
    ["Fedora-Cloud-Base-Generic.x86_64-40-1.14.qcow2", "fedora-40-amd64"],
    ["Fedora-Cloud-Base-Generic-41-1.4.x86_64.qcow2", "fedora-41-amd64"],
    ["AlmaLinux-9-GenericCloud-9.5-20241120.x86_64.qcow2", "almalinux-9-amd64"],
    ["Rocky-9-GenericCloud-Base.latest.x86_64.qcow2", "rocky-9-amd64"],
    ["CentOS-Stream-GenericCloud-9-20240101.0.x86_64.qcow2", "centos-stream-9-amd64"],
    ["rhel-9.4-x86_64-kvm.qcow2", "rhel-9-amd64"],
    ["openSUSE-Leap-15.6-Minimal-VM.x86_64-Cloud.qcow2", "opensuse-leap-15.6-amd64"],
    ["Arch-Linux-x86_64-cloudimg.qcow2", "archlinux-amd64"],
    ["nocloud_alpine-3.20.2-x86_64-bios-cloudinit-r0.qcow2", "alpine-amd64"],
    ["FreeBSD-14.1-RELEASE-amd64.qcow2", "freebsd-14-amd64"],
    ["kali-linux-2024.2-qemu-amd64.qcow2", "kali-amd64"],
    ["disk.qcow2", undefined],
  ])("are recognised by the name of the disk image %s", (name, id) => {
    expect(systemOfDisk(name)?.id).toBe(id);
  });

  it("are recognised by the partitions of a disk with a name that says nothing", () => {
    expect(systemOfDisk("disk.img", { family: "linux", arch: "i386" })?.id).toBe("linux-i386");
    expect(systemOfDisk("disk.img", { family: "freebsd" })?.id).toBe("freebsd-amd64");
    expect(systemOfDisk("disk.img", {})).toBeUndefined();
  });
});
