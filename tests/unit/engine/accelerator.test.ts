import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { kvmClosed, parseCpuFlags, readKvmFacts } from "../../../core/engine/accelerator";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("why there is no KVM", () => {
  const folder = useTemporaryFolder();
  const plain = { device: "ENOENT", virtualization: undefined, nested: false } as const;

  it("is a permission, a container's rule, a module, the firmware, or the computer outside", () => {
    expect(kvmClosed({ ...plain, device: "EACCES" })).toMatchObject({ reason: expect.stringContaining("no permission") as string, remedy: expect.stringContaining("usermod -aG kvm") as string });
    expect(kvmClosed({ ...plain, device: "EPERM" }).remedy).toMatch(/container/);
    expect(kvmClosed({ ...plain, virtualization: "vmx" }).remedy).toMatch(/modprobe kvm_intel/);
    expect(kvmClosed({ ...plain, virtualization: "svm", nested: true }).remedy).toMatch(/modprobe kvm_amd/);
    expect(kvmClosed(plain)).toMatchObject({ reason: expect.stringContaining("no /dev/kvm") as string, remedy: expect.stringContaining("firmware settings") as string });
    expect(kvmClosed({ ...plain, nested: true }).remedy).toMatch(/nested virtualization/);
    expect(kvmClosed({ ...plain, device: "ENODEV" }).reason).toMatch(/ENODEV/);
  });

  it("is read from the device and from the first processor's flags", async () => {
    expect(parseCpuFlags("processor\t: 0\nflags\t\t: fpu vmx ssse3\n")).toEqual({ virtualization: "vmx", nested: false });
    expect(parseCpuFlags("flags\t\t: fpu svm hypervisor\n\nflags\t\t: fpu vmx\n")).toEqual({ virtualization: "svm", nested: true });
    expect(parseCpuFlags("vmx flags\t: vnmi\nFeatures\t: fp asimd\n")).toEqual({ virtualization: undefined, nested: false });

    const device = join(folder.path, "kvm");
    const cpuInfo = join(folder.path, "cpuinfo");
    expect(await readKvmFacts(device, cpuInfo)).toEqual(plain);
    await writeFile(device, "");
    await writeFile(cpuInfo, "flags : svm\n");
    expect(await readKvmFacts(device, cpuInfo)).toEqual({ device: "opens", virtualization: "svm", nested: false });
    expect((await readKvmFacts(folder.path, cpuInfo)).device).toBe("EISDIR");
  });
});
