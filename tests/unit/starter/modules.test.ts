import { describe, expect, it } from "vitest";
import { loadOrder, withoutSignature } from "../../../build/starter/modules.mjs";
import { busyboxApplets } from "../../../build/starter/rootfs.mjs";

describe("the kernel modules of the guest", () => {
  const known: Record<string, string[]> = { virtio: [], ring: ["virtio"], pci: ["ring", "virtio"], net: ["ring"], loop_a: ["loop_b"], loop_b: ["loop_a"] };

  it("load after what they need, and each once over all groups", () => {
    const { order, dependencies } = loadOrder({ boot: ["pci"], later: ["net", "virtio"] }, (name) => known[name]);
    expect(order).toEqual({ boot: ["virtio", "ring", "pci"], later: ["net"] });
    expect(dependencies.get("net")).toEqual(["ring"]);
  });

  it("are named in the message when one is missing or two need each other", () => {
    expect(() => loadOrder({ boot: ["net", "sound"] }, (name) => known[name])).toThrow(/no module sound/);
    expect(() => loadOrder({ boot: ["loop_a"] }, (name) => known[name])).toThrow(/loop_a -> loop_b -> loop_a/);
  });

  it("lose their signature and nothing else", () => {
    const module = Buffer.from("\x7fELF the module itself");
    const signature = Buffer.alloc(300, 0xaa);
    const info = Buffer.alloc(12);
    info.writeUInt32BE(signature.length, 8);
    const signed = Buffer.concat([module, signature, info, Buffer.from("~Module signature appended~\n")]);
    expect(withoutSignature(signed)).toEqual(module);
    expect(withoutSignature(module)).toEqual(module);
    info.writeUInt32BE(5000, 8);
    expect(() => withoutSignature(Buffer.concat([module, signature, info, Buffer.from("~Module signature appended~\n")]))).toThrow(/signature/);
  });
});

describe("the commands of busybox", () => {
  it("are read from its table up to the first string that is none of them", () => {
    const program = Buffer.from("\x7fELF...\0[\0[[\0acpid\0sh\0udhcpc\0zcat\0a usage text\0more", "latin1");
    expect(busyboxApplets(program)).toEqual(["[", "[[", "acpid", "sh", "udhcpc", "zcat"]);
  });

  it("are refused when the table is not there or lacks what the guest needs", () => {
    expect(() => busyboxApplets(Buffer.from("no table"))).toThrow(/no table/);
    expect(() => busyboxApplets(Buffer.from("[\0[[\0acpid\0zcat\0\0"))).toThrow(/lacks/);
  });
});
