import { describe, expect, it } from "vitest";
import { installation } from "../../../core/engine/qemuPackages";

describe("how QEMU is installed", () => {
  it("is said in the words of the system", () => {
    expect(installation("linux", 'PRETTY_NAME="Debian"\nID=debian\n').all).toBe("Run: sudo apt install qemu-system-x86 qemu-utils ovmf");
    expect(installation("linux", "ID=fedora\n").uefi).toBe("Run: sudo dnf install edk2-ovmf");
    expect(installation("darwin", "").qemu).toBe("Run: brew install qemu");
    expect(installation("win32", "").img).toContain("winget install");
  });

  it("is known for systems that are like a known one", () => {
    expect(installation("linux", 'ID=linuxmint\nID_LIKE="ubuntu debian"\n').qemu).toBe("Run: sudo apt install qemu-system-x86");
    expect(installation("linux", 'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n').img).toBe("Run: sudo zypper install qemu-tools");
  });

  it("names the parts on a system nobody knows", () => {
    expect(installation("linux", "ID=own\n").all).toMatch(/qemu-system-x86_64.*qemu-img.*OVMF.*package manager/);
    expect(installation("freebsd", "ID=debian\n").qemu).toMatch(/package manager/);
  });
});
