import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { descriptorFolders, findFirmware, matchesGlob, parseDescriptor } from "../../../core/engine/firmware";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("UEFI firmware", () => {
  const folder = useTemporaryFolder();
  const at = (...parts: string[]): string => join(folder.path, ...parts);

  function descriptor(name: string, more: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      "interface-types": ["uefi"],
      mapping: { device: "flash", executable: { filename: at(`${name}-code`), format: "raw" }, "nvram-template": { filename: at(`${name}-vars`), format: "raw" } },
      targets: [{ architecture: "x86_64", machines: ["pc-i440fx-*", "pc-q35-*"] }],
      features: ["acpi-s3"],
      ...more,
    };
  }
  /** Puts a descriptor, and the images it is about, into the first, second or third folder. */
  async function put(place: "general" | "special" | "own", file: string, content: unknown, images?: string): Promise<void> {
    await mkdir(at(place), { recursive: true });
    await writeFile(at(place, file), typeof content === "string" ? content : JSON.stringify(content));
    for (const part of images === undefined ? [] : ["code", "vars"]) await writeFile(at(`${images}-${part}`), "");
  }
  const find = (): ReturnType<typeof findFirmware> => findFirmware({ env: {}, platform: "freebsd", machine: "pc-q35-8.2", dataFolders: [at("data")], folders: ["general", "special", "own"].map((place) => at(place)) });

  it("is the first by name that fits and does without Secure Boot", async () => {
    await put("general", "40-secure.json", descriptor("secure", { features: ["secure-boot", "requires-smm"] }), "secure");
    await put("general", "50-other.json", descriptor("other", { targets: [{ architecture: "aarch64", machines: ["*"] }, { architecture: "x86_64", machines: ["microvm"] }] }), "other");
    await put("special", "60-plain.json", descriptor("plain"), "plain");
    await put("general", "70-later.json", descriptor("later"), "later");
    expect(await find()).toEqual({ code: at("plain-code"), variables: at("plain-vars"), codeFormat: "raw", variablesFormat: "raw", secureBoot: false });
  });

  it("has Secure Boot when there is no other", async () => {
    await put("general", "40-secure.json", descriptor("secure", { features: ["secure-boot", "requires-smm"] }), "secure");
    expect(await find()).toMatchObject({ code: at("secure-code"), secureBoot: true });
  });

  it("is hidden or replaced by a descriptor of the same name in a more specific folder", async () => {
    await put("general", "10-a.json", descriptor("a"), "a");
    await put("general", "20-b.json", descriptor("b"), "b");
    await put("special", "10-a.json", "");
    expect(await find()).toMatchObject({ code: at("b-code") });
    await put("own", "20-b.json", descriptor("mine"), "mine");
    expect(await find()).toMatchObject({ code: at("mine-code") });
  });

  it("is passed over when its images are missing or its descriptor is damaged, and a pipe in its place keeps nobody waiting", async () => {
    await put("general", "10-gone.json", descriptor("gone"));
    await put("general", "20-damaged.json", '{"interface-types": ["uefi"');
    execFileSync("mkfifo", [at("general", "30-pipe.json")]);
    await put("general", "40-good.json", descriptor("good"), "good");
    expect(await find()).toMatchObject({ code: at("good-code") });
  });

  it("is found beside QEMU without a descriptor, and is nothing when there is none", async () => {
    expect(await find()).toBeUndefined();
    await mkdir(at("data"));
    await writeFile(at("data", "edk2-x86_64-code.fd"), "");
    expect(await find()).toBeUndefined();
    await writeFile(at("data", "edk2-i386-vars.fd"), "");
    expect(await find()).toEqual({ code: at("data", "edk2-x86_64-code.fd"), variables: at("data", "edk2-i386-vars.fd"), codeFormat: "raw", variablesFormat: "raw", secureBoot: false });
  });

  it("is looked for in QEMU's own folder, the system's, the administrator's and the person's", () => {
    expect(descriptorFolders({ XDG_CONFIG_HOME: "/home/a/settings" }, "linux", ["/opt/q/share"])).toEqual(["/opt/q/share/firmware", "/usr/share/qemu/firmware", "/etc/qemu/firmware", "/home/a/settings/qemu/firmware"]);
    expect(descriptorFolders({ HOME: "/home/a" }, "linux", []).at(-1)).toBe("/home/a/.config/qemu/firmware");
  });

  it("is described in two flash chips with absolute paths, or not at all", () => {
    const mapping = descriptor("x").mapping as Record<string, unknown>;
    const file = { filename: "/x", format: "qcow2" };
    expect(parseDescriptor(JSON.stringify(descriptor("x", { mapping: { ...mapping, mode: "split", executable: file } })))).toMatchObject({ code: "/x", codeFormat: "qcow2" });
    for (const bad of [{ mode: "combined" }, { mode: "stateless" }, { device: "memory" }, { executable: { filename: "x", format: "raw" } }, { executable: { filename: "/x", format: "vmdk" } }, { executable: { filename: "/x\0", format: "raw" } }, { "nvram-template": undefined }]) {
      expect(parseDescriptor(JSON.stringify(descriptor("x", { mapping: { ...mapping, ...bad } }))), JSON.stringify(bad)).toBeUndefined();
    }
    expect(parseDescriptor(JSON.stringify(descriptor("x", { "interface-types": ["bios"] })))).toBeUndefined();
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.object().map((more) => JSON.stringify({ ...descriptor("x"), ...more, mapping: more }))), (text) => parseDescriptor(text) === undefined));
  });

  it("fits a machine by a pattern, as the shell reads it", () => {
    for (const [pattern, name] of [["pc-q35-*", "pc-q35-7.2"], ["*", "q35"], ["pc-?35-*", "pc-q35-8.2"], ["q35", "q35"], ["*q*5", "pc-q35"]] as const) expect(matchesGlob(pattern, name), pattern).toBe(true);
    for (const [pattern, name] of [["pc-i440fx-*", "pc-q35-7.2"], ["q35", "q350"], ["?", ""], ["", "q35"], ["pc.q35", "pc-q35"]] as const) expect(matchesGlob(pattern, name), pattern).toBe(false);
    const letters = fc.array(fc.constantFrom("a", "b", "*", "?")).map((all) => all.join(""));
    fc.assert(
      fc.property(letters, fc.array(fc.constantFrom("a", "b")).map((all) => all.join("")), (pattern, name) => {
        const expression = new RegExp(`^${pattern.replace(/\*+/g, ".*").replace(/\?/g, ".")}$`);
        expect(matchesGlob(pattern, name)).toBe(expression.test(name));
      }),
    );
  });
});
