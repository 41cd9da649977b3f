import { describe, expect, it } from "vitest";
import { machineSockets, type LaunchContext } from "../../../core/engine/engine";
import { v86Argv, v86Engine } from "../../../core/engine/v86Argv";
import { makeConfig, oneDisk } from "../../support/machineConfig";

const context: LaunchContext = {
  folder: "/home/me/machines/a",
  sockets: machineSockets("/run/m/0123"),
  serialLog: "/home/me/machines/a/logs/serial0.log",
  dumpDir: "/home/me/machines/a/logs",
  guest: { firmware: { bios: "/g/bios.bin", vgabios: "/g/vgabios.bin" }, starter: { kernel: "/g/kernel", initrd: "/g/initrd", cmdline: "quiet terrarium.hold" } },
  links: [true, false, false, false],
  incoming: false,
};
const id = "0123abcd-1111-4111-8111-1122334455ff";
const adapters = [{ mac: "52:54:00:00:00:01", attachment: { mode: "none" as const }, plugged: true }];

describe("the machine process's command line", () => {
  it("starts the starter guest with a disk, a drive and four adapters", () => {
    const config = makeConfig({ id, name: "web 01", memoryMiB: 256, disks: oneDisk, adapters });
    expect(v86Argv(config, context)).toEqual([
      ...["-name", "web 01", "-uuid", id, "-m", "256", "-pidfile", "/run/m/0123/pid", "-S"],
      ...["-bios", "/g/bios.bin", "-vgabios", "/g/vgabios.bin"],
      ...["-kernel", "/g/kernel", "-initrd", "/g/initrd", "-append", "quiet terrarium.hold"],
      ...["-monitor", "/run/m/0123/monitor.sock", "-vnc", "/run/m/0123/display.sock", "-serial", "/run/m/0123/serial0.sock"],
      ...["-serial-log", "/home/me/machines/a/logs/serial0.log", "-agent", "/run/m/0123/agent.sock", "-dump-dir", "/home/me/machines/a/logs"],
      ...["-disk", '{"id":"disk0","file":"/home/me/machines/a/disks/disk0/0.raw","readOnly":false}'],
      ...["-cdrom", '{"id":"cd0","file":null}'],
      ...["-net", '{"id":"net0","mac":"52:54:00:00:00:01","link":true,"path":"/run/m/0123/net0.sock"}'],
      ...["-net", '{"id":"net1","mac":"0e:33:44:55:ff:f1","link":false,"path":"/run/m/0123/net1.sock"}'],
      ...["-net", '{"id":"net2","mac":"0e:33:44:55:ff:f2","link":false,"path":"/run/m/0123/net2.sock"}'],
      ...["-net", '{"id":"net3","mac":"0e:33:44:55:ff:f3","link":false,"path":"/run/m/0123/net3.sock"}'],
    ]);
  });

  it("boots from a CD, from a disk, or from a kernel of the user's own", () => {
    const boots = (boot: ReturnType<typeof makeConfig>["boot"]): string[] => {
      const args = v86Argv(makeConfig({ boot, drives: [{ id: "cd0", medium: "/isos/a.iso" }] }), context);
      return args.slice(args.indexOf("-vgabios") + 2, args.indexOf("-monitor"));
    };
    expect(boots({ kind: "firmware", order: "cd" })).toEqual(["-boot", "d"]);
    expect(boots({ kind: "firmware", order: "disk" })).toEqual(["-boot", "c"]);
    expect(boots({ kind: "kernel", kernel: "/k", cmdline: "a b" })).toEqual(["-kernel", "/k", "-append", "a b"]);
    expect(boots({ kind: "kernel", kernel: "/k", initrd: "/i", cmdline: "" })).toEqual(["-kernel", "/k", "-initrd", "/i", "-append", ""]);
  });

  it("waits for a state when one is loaded, and numbers disks without gaps", () => {
    const disks = [{ ...oneDisk[0], id: "disk2", sizeBytes: 512, layers: [{ file: "/images/linked.img", format: "raw" as const }] }];
    const args = v86Argv(makeConfig({ disks }), { ...context, incoming: true });
    expect(args.slice(-2)).toEqual(["-incoming", "defer"]);
    expect(args).toContain('{"id":"disk0","file":"/images/linked.img","readOnly":false}');
  });

  it("refuses disks that the emulator cannot read, and a starter that is not there", () => {
    const layers = [{ file: "a.qcow2", format: "qcow2" as const }];
    expect(() => v86Argv(makeConfig({ disks: [{ id: "disk0", sizeBytes: 512, layers }] }), context)).toThrow(/raw images/);
    expect(() => v86Argv(makeConfig(), { ...context, guest: { firmware: { bios: "b", vgabios: "v" } } })).toThrow(/has not been built/);
    expect(() => v86Argv(makeConfig(), { ...context, guest: {} })).toThrow(/firmware .* has not been built/);
  });
});

describe("the built-in engine", () => {
  it("starts the emulator with the runtime it was given, and has nothing to tell it before the guest runs", () => {
    const plan = v86Engine({ node: "node", env: { A: "1" }, emulator: "/out/emulator.cjs", codeCache: "/cache" }).plan(makeConfig(), context);
    expect(plan).toMatchObject({ command: "node", env: { A: "1" }, before: [], files: [], facts: {} });
    expect(plan.args[0]).toBe("/out/emulator.cjs");
  });
});
