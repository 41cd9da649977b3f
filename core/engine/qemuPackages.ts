/** How QEMU is installed where, for remedies. */
interface Packages {
  /** Ids of /etc/os-release. */
  readonly systems: readonly string[];
  readonly install: string;
  readonly qemu: string;
  readonly img: string;
  readonly uefi: string;
}

const linux: readonly Packages[] = [
  { systems: ["debian", "ubuntu"], install: "sudo apt install", qemu: "qemu-system-x86", img: "qemu-utils", uefi: "ovmf" },
  { systems: ["fedora", "rhel", "centos"], install: "sudo dnf install", qemu: "qemu-system-x86", img: "qemu-img", uefi: "edk2-ovmf" },
  { systems: ["arch"], install: "sudo pacman -S", qemu: "qemu-system-x86", img: "qemu-img", uefi: "edk2-ovmf" },
  { systems: ["suse", "opensuse"], install: "sudo zypper install", qemu: "qemu-x86", img: "qemu-tools", uefi: "qemu-ovmf-x86_64" },
  { systems: ["alpine"], install: "sudo apk add", qemu: "qemu-system-x86_64", img: "qemu-img", uefi: "ovmf" },
];

/** How a person installs what there is of QEMU: the emulator, its tool for images, UEFI firmware, or all of it. */
export interface Installation {
  readonly all: string;
  readonly qemu: string;
  readonly img: string;
  readonly uefi: string;
}

type Part = Exclude<keyof Installation, "all">;

/** @param osRelease what /etc/os-release says, on Linux */
export function installation(platform: NodeJS.Platform, osRelease: string): Installation {
  const of = (...parts: Part[]): string => howToInstall(parts, platform, osRelease);
  return { all: of("qemu", "img", "uefi"), qemu: of("qemu"), img: of("img"), uefi: of("uefi") };
}

function howToInstall(parts: readonly Part[], platform: NodeJS.Platform, osRelease: string): string {
  if (platform === "darwin") return "Run: brew install qemu";
  if (platform === "win32") return "Install QEMU for Windows (from qemu.org, or with: winget install SoftwareFreedomConservancy.QEMU).";
  const known = platform === "linux" ? packagesOf(osRelease) : undefined;
  if (known) return `Run: ${known.install} ${parts.map((part) => known[part]).join(" ")}`;
  const names: Record<Part, string> = { qemu: "QEMU for x86 (qemu-system-x86_64)", img: "qemu-img", uefi: "UEFI firmware for x86-64 (OVMF)" };
  return `Install ${parts.map((part) => names[part]).join(", ")} with this system's package manager.`;
}

/** os-release(5): the system itself first, then what it is like, nearest first. */
function packagesOf(osRelease: string): Packages | undefined {
  const field = (name: string): string => new RegExp(`^${name}=["']?([^"'\\r\\n]*)["']?\\s*$`, "m").exec(osRelease)?.[1] ?? "";
  const ids = [field("ID"), ...field("ID_LIKE").split(" ")].filter((id) => id !== "");
  for (const id of ids) {
    const found = linux.find(({ systems }) => systems.some((system) => id === system || id.startsWith(`${system}-`)));
    if (found) return found;
  }
  return undefined;
}
