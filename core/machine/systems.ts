import { GiB } from "../base/bytes";

/*
 * The guest systems Terrarium knows: what a machine for each should have, and how its installation media and cloud images
 * are recognised. Data; the functions at the end read it. Volume labels are those that the makers' own images carry.
 */

export type SystemArch = "i386" | "x86_64";

export interface SystemHardware {
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Of the first disk; 0 for what needs none. */
  readonly diskBytes: number;
  readonly firmware: "bios" | "uefi";
  readonly diskBus: "virtio" | "sata" | "scsi";
  readonly adapterModel: "virtio" | "e1000";
  /** What the guest takes its battery-backed clock to show. */
  readonly clock: "utc" | "local";
}

export interface GuestSystem extends SystemHardware {
  /** `debian-12-amd64`; without a version (`debian-amd64`) for a release that is not in the table. */
  readonly id: string;
  readonly label: string;
  /** For lists: "Linux", "BSD", "Windows", "Other". */
  readonly group: SystemGroup;
  readonly arch: SystemArch;
}

export type SystemGroup = "Linux" | "BSD" | "Windows" | "Other";

/** What an ISO says of itself. */
export interface IsoEvidence {
  readonly label?: string | undefined;
  /** The last part of the path. */
  readonly fileName: string;
  /** Those of `wellKnownFiles` that are on it. */
  readonly files: ReadonlySet<string>;
  /** `/.disk/info` and `/.treeinfo`, as text. */
  readonly info?: string | undefined;
  readonly treeInfo?: string | undefined;
}

/**
 * A way to recognise a family. Named groups: `version` (its start is looked up among the versions) and `arch`, in any of the
 * spellings of `archOf`. A pattern without `arch` leaves the processor to the rest of the evidence, or says it beside itself.
 */
type Sign = RegExp | readonly [sign: RegExp, arch: SystemArch];

interface Signs {
  readonly label?: readonly Sign[];
  readonly info?: readonly Sign[];
  /** Of `.treeinfo`, which holds `family = Fedora` and `version = 40`. */
  readonly treeFamily?: string;
  /** Of ISO and disk image files. */
  readonly fileName?: readonly Sign[];
  /** Any of these on the medium. */
  readonly files?: readonly string[];
}

interface Family extends Signs, SystemHardware {
  readonly id: string;
  readonly name: string;
  readonly group: SystemGroup;
  readonly arches: readonly SystemArch[];
  /** Newest first; behind a version the code names of the release. */
  readonly versions: readonly (readonly [version: string, ...names: string[]])[];
  /** Versions there are for 32-bit processors, where those are not all. An entry without a version stands for older ones. */
  readonly versions32?: readonly string[];
  /** Its releases are all in the table, so there is no entry without a version. */
  readonly complete?: boolean;
}

const paravirtual = { firmware: "bios", diskBus: "virtio", adapterModel: "virtio", clock: "utc" } as const;
/** For systems that bring no drivers for paravirtual hardware. */
const physical = { firmware: "bios", diskBus: "sata", adapterModel: "e1000", clock: "local" } as const;

const both: readonly SystemArch[] = ["x86_64", "i386"];
const only64: readonly SystemArch[] = ["x86_64"];
const only32: readonly SystemArch[] = ["i386"];

const linux = { ...paravirtual, group: "Linux", arches: both, memoryMiB: 2048, cpus: 2, diskBytes: 20 * GiB } as const;
/** Installing over the network takes 3 GiB. */
const enterprise = { ...linux, arches: only64, memoryMiB: 3072, versions: [["10"], ["9"], ["8"]] } as const;
const bsd = { ...paravirtual, group: "BSD", arches: both, memoryMiB: 1024, cpus: 1, diskBytes: 16 * GiB } as const;
const windows = { ...physical, group: "Windows", arches: only64, memoryMiB: 4096, cpus: 2, diskBytes: 64 * GiB } as const;
const other = { ...physical, group: "Other", arches: only32, versions: [], memoryMiB: 512, cpus: 1, diskBytes: 8 * GiB } as const;

/** The order matters: what is made from another system comes before it, and what fits anything comes last. */
const families: readonly Family[] = [
  {
    ...linux,
    id: "linuxmint",
    name: "Linux Mint",
    versions: [["22"], ["21"], ["20"]],
    versions32: [],
    memoryMiB: 4096,
    diskBytes: 30 * GiB,
    info: [/^Linux Mint (?<version>[\d.]+) .* - Release (?<arch>\w+)/],
    label: [/^Linux Mint (?<version>[\d.]+) .*(?<arch>64|32)-bit/],
    fileName: [/^linuxmint-(?<version>[\d.]+)-.*(?<arch>64|32)bit/i],
  },
  {
    ...linux,
    id: "kali",
    name: "Kali Linux",
    versions: [],
    diskBytes: 32 * GiB,
    info: [/^Kali/],
    label: [/^Kali Linux (?<arch>\w+)/, /^Kali Live/],
    fileName: [/^kali-linux-.*(?<arch>amd64|i386)/i],
  },
  {
    ...linux,
    id: "ubuntu",
    name: "Ubuntu",
    versions: [["26.04"], ["24.04", "noble"], ["22.04", "jammy"], ["20.04", "focal"], ["18.04", "bionic"]],
    versions32: ["18.04"],
    memoryMiB: 4096,
    diskBytes: 25 * GiB,
    info: [/^\w*ubuntu(?:-\w+)? (?<version>[\d.]+).* - \w+ (?<arch>\w+)/i],
    label: [/^\w*ubuntu(?:-\w+)? (?<version>[\d.]+)(?: LTS)?(?: (?<arch>\w+))?/i],
    fileName: [/^\w*ubuntu-(?:minimal-)?(?<version>[\d.]+)-.*(?<arch>amd64|i386)/i, /^(?<version>noble|jammy|focal|bionic)-.*(?<arch>amd64|i386)/i],
    files: ["/casper/vmlinuz"],
  },
  {
    ...linux,
    id: "debian",
    name: "Debian",
    versions: [["13", "trixie"], ["12", "bookworm"], ["11", "bullseye"], ["10", "buster"]],
    versions32: ["12", "11", "10"],
    info: [/^Debian GNU\/Linux (?<version>[\d.]+) .* - \S+ (?<arch>\w+)/],
    label: [/^Debian (?<version>[\d.]+) (?<arch>\w+)/, /^d-live (?<version>[\d.]+) \S+ (?<arch>\w+)/],
    fileName: [/^debian-(?:live-)?(?<version>\d+)\b.*(?<arch>amd64|i386)/i],
    files: ["/install.amd/vmlinuz", "/install.386/vmlinuz"],
  },
  {
    ...linux,
    id: "fedora",
    name: "Fedora",
    arches: only64,
    versions: [["44"], ["43"], ["42"], ["41"], ["40"]],
    memoryMiB: 4096,
    treeFamily: "Fedora",
    label: [/^Fedora-(?:[A-Za-z_]+-)+(?:x86_64-)?(?<version>\d+)/],
    fileName: [/^Fedora-.*[-.]x86_64-(?<version>\d+)/i, /^Fedora-.*?-(?<version>\d+)-[\d.]+\.x86_64/i],
  },
  { ...enterprise, id: "almalinux", name: "AlmaLinux", treeFamily: "AlmaLinux", label: [/^AlmaLinux-(?<version>\d+)[-._]\d+-/], fileName: [/^AlmaLinux-(?<version>\d+)/i] },
  { ...enterprise, id: "rocky", name: "Rocky Linux", treeFamily: "Rocky Linux", label: [/^Rocky-(?<version>\d+)-\d+-/], fileName: [/^Rocky-(?:[A-Za-z-]+-)?(?<version>\d+)/i] },
  { ...enterprise, id: "centos-stream", name: "CentOS Stream", treeFamily: "CentOS Stream", label: [/^CentOS-Stream-(?<version>\d+)-/], fileName: [/^CentOS-Stream-(?:GenericCloud-)?(?:x86_64-)?(?<version>\d+)/i] },
  { ...enterprise, id: "rhel", name: "Red Hat Enterprise Linux", treeFamily: "Red Hat Enterprise Linux", label: [/^RHEL-(?<version>\d+)-\d+-/], fileName: [/^rhel-(?:[a-z]+-)?(?<version>\d+)/i] },
  {
    ...linux,
    id: "opensuse-leap",
    name: "openSUSE Leap",
    arches: only64,
    versions: [["16.0"], ["15.6"], ["15.5"]],
    diskBytes: 24 * GiB,
    label: [/^openSUSE-Leap-(?<version>[\d.]+)-/],
    fileName: [/^openSUSE-Leap-(?<version>\d+\.\d+)/i],
  },
  { ...linux, id: "opensuse-tumbleweed", name: "openSUSE Tumbleweed", versions: [], diskBytes: 24 * GiB, label: [/^openSUSE-Tumbleweed-\S*?(?<arch>x86_64|i586)/], fileName: [/^openSUSE-Tumbleweed.*(?<arch>x86_64|i586)/i] },
  { ...linux, id: "archlinux", name: "Arch Linux", arches: only64, versions: [], label: [/^ARCH_\d{6}$/], fileName: [/^arch-?linux-/i], files: ["/arch/boot/x86_64/vmlinuz-linux"] },
  {
    ...linux,
    id: "alpine",
    name: "Alpine Linux",
    versions: [],
    memoryMiB: 1024,
    cpus: 1,
    diskBytes: 8 * GiB,
    label: [/^alpine-\w+ v?[\d.]+\S* (?<arch>\w+)$/],
    fileName: [/^(?:\w+_)?alpine-.*?(?<arch>x86_64|x86)/i],
    files: ["/.alpine-release"],
  },
  { ...linux, id: "void", name: "Void Linux", versions: [], memoryMiB: 1024, cpus: 1, diskBytes: 10 * GiB, label: [/^VOID_LIVE$/], fileName: [/^void-.*?(?<arch>x86_64|i686)/i] },
  { ...linux, id: "nixos", name: "NixOS", versions: [], memoryMiB: 3072, label: [/^nixos-\S*?(?<arch>x86_64|i686)/], fileName: [/^(?:latest-)?nixos-.*(?<arch>x86_64|i686)/i], files: ["/nix-store.squashfs"] },
  { ...linux, id: "gentoo", name: "Gentoo", versions: [], memoryMiB: 4096, diskBytes: 30 * GiB, label: [/^Gentoo[ -](?<arch>amd64|x86)[ -]\d{8}/], fileName: [/^(?:install|livegui|di)-(?<arch>amd64|x86)-/i] },
  // Its kernel is built without much; SATA and e1000 are in every edition.
  { ...other, id: "tinycore", name: "Tiny Core Linux", group: "Linux", arches: both, clock: "utc", memoryMiB: 256, diskBytes: 1 * GiB, fileName: [[/^(?:Tiny)?CorePure64-/i, "x86_64"], [/^(?:Tiny)?Core(?:Plus)?-\d/i, "i386"]], files: ["/boot/corepure64.gz", "/boot/core.gz", "/boot/tinycore.gz"] },
  {
    ...bsd,
    id: "freebsd",
    name: "FreeBSD",
    versions: [["15"], ["14"], ["13"]],
    versions32: ["14", "13"],
    memoryMiB: 2048,
    cpus: 2,
    diskBytes: 20 * GiB,
    label: [/^(?<version>\d+)_\d+_[A-Z0-9]+_(?<arch>AMD64|I386)_/],
    fileName: [/^FreeBSD-(?<version>[\d.]+)-.*(?<arch>amd64|i386)/i],
    files: ["/boot/kernel/kernel"],
  },
  { ...bsd, id: "openbsd", name: "OpenBSD", versions: [["7"]], label: [/^OpenBSD\/(?<arch>amd64|i386) +(?<version>[\d.]+) /] },
  { ...bsd, id: "netbsd", name: "NetBSD", versions: [["10"], ["9"]], label: [/^NETBSD_(?<version>10|9)\d*$/], fileName: [/^NetBSD-(?<version>[\d.]+)-(?<arch>amd64|i386)/i] },
  { ...windows, id: "windows-server", name: "Windows Server", versions: [["2025"], ["2022"], ["2019"], ["2016"]], label: [/^SSS_X64(?:FRE|CHK)/], fileName: [/windows[-_ ]?server[-_ ]?(?<version>\d{4})/i] },
  { ...windows, id: "windows", name: "Windows", versions: [["11"]], complete: true, firmware: "uefi", fileName: [/^(?:\w*_)?win(?:dows)?[-_ ]?(?<version>11)(?!\d)/i] },
  {
    ...windows,
    id: "windows",
    name: "Windows",
    arches: both,
    versions: [["10"]],
    complete: true,
    label: [[/^(?:J_)?(?:CCSN?A|C?CCOMA|CEDN?A|CEN?A|CESN?N?|CESE)_X86FRE/, "i386"]],
    fileName: [/^(?:\w*_)?win(?:dows)?[-_ ]?(?<version>10)(?!\d).*(?<arch>x64|x86|x32)/i, /^(?:\w*_)?win(?:dows)?[-_ ]?(?<version>10)(?!\d)/i],
  },
  {
    // The discs of 10 and 11 carry the same labels; what 11 asks for suits both.
    ...windows,
    id: "windows-10-or-11",
    name: "Windows 10 or 11",
    versions: [],
    firmware: "uefi",
    label: [/^(?:J_)?(?:CCSN?A|C?CCOMA|CEDN?A|CENN?A|CESN?N?|CESE)_X64FRE/],
    files: ["/sources/install.wim", "/sources/install.esd"],
  },
  {
    ...windows,
    id: "windows",
    name: "Windows",
    arches: both,
    versions: [["7"]],
    complete: true,
    memoryMiB: 2048,
    cpus: 1,
    diskBytes: 40 * GiB,
    label: [[/^G(?:SP1)?RMC\w*X(?:FRE|VOL|CHK)/, "x86_64"], [/^G(?:SP1)?RMC\w*(?:FRE|VOL|CHK)/, "i386"]],
    fileName: [/^(?:\w*_)?win(?:dows)?[-_ ]?(?<version>7)(?!\d).*(?<arch>x64|x86)/i, /^(?:\w*_)?win(?:dows)?[-_ ]?(?<version>7)(?!\d)/i],
  },
  { ...other, id: "reactos", name: "ReactOS", label: [/^ReactOS/i], fileName: [/^reactos-/i] },
  { ...other, id: "freedos", name: "FreeDOS", memoryMiB: 64, diskBytes: 1 * GiB, label: [/^FD1\d-/, /^FREEDOS/i], fileName: [/^(?:freedos|FD1\d)/i] },
  { ...other, id: "memtest", name: "Memtest86+", arches: both, diskBytes: 0, fileName: [/^(?:mt86plus|memtest)/i] },
  { ...linux, id: "linux", name: "Linux", versions: [], files: ["/images/pxeboot/vmlinuz", "/boot/x86_64/loader/linux", "/boot/i386/loader/linux", "/live/vmlinuz", "/live/filesystem.squashfs", "/LiveOS/squashfs.img", "/isolinux/isolinux.bin", "/boot/grub/grub.cfg"] },
  { ...other, id: "other", name: "Other system", arches: both, memoryMiB: 1024, diskBytes: 16 * GiB },
];

/** Files that tell the processor alone. */
const archFiles: readonly (readonly [path: string, arch: SystemArch])[] = [
  ["/EFI/BOOT/BOOTX64.EFI", "x86_64"],
  ["/install.amd/vmlinuz", "x86_64"],
  ["/boot/x86_64/loader/linux", "x86_64"],
  ["/boot/corepure64.gz", "x86_64"],
  ["/install.386/vmlinuz", "i386"],
  ["/boot/i386/loader/linux", "i386"],
  ["/boot/core.gz", "i386"],
  ["/EFI/BOOT/BOOTIA32.EFI", "i386"],
];

/** What to look for on an ISO. */
export const wellKnownFiles: readonly string[] = [...new Set([...families.flatMap((family) => family.files ?? []), ...archFiles.map(([path]) => path)])];

export const systems: readonly GuestSystem[] = families.flatMap((family) =>
  family.arches.flatMap((arch) => {
    const versions = family.versions.filter(([version]) => isMadeFor(family, version, arch)).map(([version]) => describe(family, arch, version));
    return family.complete ? versions : [...versions, describe(family, arch, undefined)];
  }),
);

const byId = new Map(systems.map((system) => [system.id, system]));

export function systemById(id: string): GuestSystem | undefined {
  return byId.get(id);
}

/** Of an ISO: by what it says of itself, then by its file name, then by what is on it. */
export function systemOfIso({ label, info, treeInfo, fileName, files }: IsoEvidence): GuestSystem | undefined {
  if ([label, info, fileName].some((text) => text !== undefined && foreign.test(text))) return undefined;
  const hint = archByWords(fileName) ?? archFiles.find(([path]) => files.has(path))?.[1];
  const byName = bySign(fileName, (family) => family.fileName, hint);
  const byLabel = bySign(info, (family) => family.info, hint) ?? bySign(label, (family) => family.label, hint);
  // Discs of Windows do not say which one it is, or not fully; their file names often do.
  if (byLabel?.group === "Windows" && byName?.group === "Windows" && byName.arch === byLabel.arch) return byName;
  return byLabel ?? byTreeInfo(treeInfo) ?? byName ?? first((family) => (family.files?.some((path) => files.has(path)) ? choose(family, undefined, hint) : undefined));
}

/** Of a disk image: by its file name, as makers of cloud images choose it, else by the family its partitions tell of. */
export function systemOfDisk(fileName: string, partitions?: { readonly family?: string | undefined; readonly arch?: SystemArch | undefined }): GuestSystem | undefined {
  if (foreign.test(fileName)) return undefined;
  const hint = archByWords(fileName) ?? partitions?.arch;
  return bySign(fileName, (family) => family.fileName, hint) ?? first((family) => (family.id === partitions?.family ? choose(family, undefined, hint) : undefined));
}

/** Words for processors that none of our machines has. */
const foreign = /(?:^|[^a-z\d])(?:arm64|aarch64|armhf|armv7|ppc64(?:el|le)?|powerpc|s390x|riscv64|loongarch64)(?![a-z\d])|A64FRE/i;

const archNames: Readonly<Record<string, SystemArch>> = { amd64: "x86_64", x86_64: "x86_64", x64: "x86_64", "64": "x86_64", i386: "i386", i586: "i386", i686: "i386", x86: "i386", x32: "i386", "32": "i386" };

function archOf(word: string | undefined): SystemArch | undefined {
  return word === undefined ? undefined : archNames[word.toLowerCase()];
}

function archByWords(text: string): SystemArch | undefined {
  return archOf(/(?:^|[^a-z\d])(amd64|x86_64|x64|i386|i586|i686|x86)(?![a-z\d])/i.exec(text)?.[1]);
}

function bySign(text: string | undefined, signs: (family: Family) => readonly Sign[] | undefined, hint: SystemArch | undefined): GuestSystem | undefined {
  if (text === undefined) return undefined;
  return first((family) => {
    for (const sign of signs(family) ?? []) {
      const [pattern, arch] = sign instanceof RegExp ? [sign, undefined] : sign;
      const found = pattern.exec(text);
      if (found) return choose(family, found.groups?.["version"], arch ?? archOf(found.groups?.["arch"]) ?? hint);
    }
    return undefined;
  });
}

/** The format of Anaconda's discs: an INI file, read no further than its three telling lines. */
function byTreeInfo(text: string | undefined): GuestSystem | undefined {
  if (text === undefined) return undefined;
  const value = (key: string): string | undefined => new RegExp(`^${key}[ \\t]*=[ \\t]*(\\S.*)$`, "m").exec(text)?.[1]?.trim();
  const arch = archOf(value("arch"));
  return arch && first((family) => (family.treeFamily !== undefined && family.treeFamily === value("family") ? choose(family, value("version"), arch) : undefined));
}

function first(look: (family: Family) => GuestSystem | undefined): GuestSystem | undefined {
  for (const family of families) {
    const found = look(family);
    if (found) return found;
  }
  return undefined;
}

/** The entry of a family for a version (`12.5.0`, or a code name) and a processor; the nearest there is. */
function choose(family: Family, text: string | undefined, wanted: SystemArch | undefined): GuestSystem | undefined {
  const known = family.versions.find(([version, ...names]) => text !== undefined && (text === version || text.startsWith(`${version}.`) || names.includes(text.toLowerCase())))?.[0];
  const arch = wanted && isMadeFor(family, known, wanted) ? wanted : family.arches[0];
  return arch && byId.get(idOf(family, arch, known ?? (family.complete ? family.versions[0]?.[0] : undefined)));
}

function isMadeFor({ arches, versions32 }: Family, version: string | undefined, arch: SystemArch): boolean {
  return arches.includes(arch) && (arch === "x86_64" || version === undefined || versions32 === undefined || versions32.includes(version));
}

function idOf(family: Family, arch: SystemArch, version: string | undefined): string {
  return `${family.id}${version === undefined ? "" : `-${version}`}-${arch === "x86_64" ? "amd64" : "i386"}`;
}

function describe(family: Family, arch: SystemArch, version: string | undefined): GuestSystem {
  const { name, group, memoryMiB, cpus, diskBytes, firmware, diskBus, adapterModel, clock } = family;
  const label = `${name}${version === undefined ? "" : ` ${version}`}${arch === "i386" && family.arches.length > 1 ? " (32-bit)" : ""}`;
  return { id: idOf(family, arch, version), label, group, arch, memoryMiB, cpus, diskBytes, firmware, diskBus, adapterModel, clock };
}
