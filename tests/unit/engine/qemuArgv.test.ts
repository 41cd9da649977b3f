import { describe, expect, it } from "vitest";
import { machineSockets, type LaunchContext } from "../../../core/engine/engine";
import { refusedArgument } from "../../../core/engine/extraArguments";
import { beforeStart, diskNode, limitDisk, qemuArgv, stateFacts, type QemuFacts } from "../../../core/engine/qemuArgv";
import type { MachineConfig } from "../../../core/contract/model";
import { savedDifference, savedFacts, type SavedFacts } from "../../../core/machine/saved";
import { makeConfig, oneDisk } from "../../support/machineConfig";

const context: LaunchContext = {
  folder: "/home/me/machines/a",
  sockets: machineSockets("/run/m/0123"),
  serialLog: "/home/me/machines/a/logs/serial0.log",
  dumpDir: "/home/me/machines/a/logs",
  guest: { starter: { kernel: "/g/kernel", initrd: "/g/initrd", cmdline: "quiet terrarium.hold" } },
  links: [true, false, false, false],
  incoming: false,
};
const qemu: QemuFacts = {
  machineTypes: { q35: "pc-q35-7.2", pc: "pc-i440fx-7.2" },
  accelerator: { id: "tcg", argument: "tcg,thread=multi", cpuModel: "max" },
  sandbox: true,
  firmware: { code: "/fw/code.fd", codeFormat: "raw", variables: "/fw/vars.fd", variablesFormat: "raw", secureBoot: false },
};
const id = "0123abcd-1111-4111-8111-1122334455ff";
const adapter = { mac: "52:54:00:00:00:01", attachment: { mode: "none" as const }, plugged: true };

const argv = (patch: Partial<MachineConfig>, around: Partial<LaunchContext> = {}, facts: Partial<QemuFacts> = {}): string[] =>
  qemuArgv(makeConfig({ id, disks: [], adapters: [], drives: [{ id: "cd0", medium: null }], ...patch }), { ...context, ...around }, { ...qemu, ...facts });

/** The values of an option, those in JSON as what they say. */
function values(args: readonly string[], option: string): unknown[] {
  return args.flatMap((word, index) => (args[index - 1] === option ? [word.startsWith("{") ? (JSON.parse(word) as unknown) : word] : []));
}
const device = (args: readonly string[], name: string): Record<string, unknown> | undefined => values(args, "-device").find((entry) => (entry as { id?: string }).id === name) as Record<string, unknown> | undefined;
const node = (args: readonly string[], name: string): Record<string, unknown> | undefined => values(args, "-blockdev").find((entry) => (entry as { "node-name"?: string })["node-name"] === name) as Record<string, unknown> | undefined;

describe("QEMU's command line", () => {
  it("starts the starter guest with a disk, a drive and an adapter, word for word", () => {
    const port = (slot: string, number: number): string[] => ["-device", JSON.stringify({ driver: "pcie-root-port", id: `port-${slot}`, bus: "pcie.0", chassis: number, port: number })];
    expect(argv({ name: "web 01", memoryMiB: 256, disks: oneDisk, adapters: [adapter] })).toEqual([
      ...["-nodefaults", "-no-user-config", "-name", "guest=web 01", "-uuid", id, "-msg", "timestamp=on"],
      ...["-machine", "pc-q35-7.2,usb=off,vmport=off", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "cpus=1,sockets=1,cores=1,threads=1,maxcpus=1", "-m", "size=256M"],
      ...["-rtc", "base=utc", "-boot", "strict=on", "-display", "none", "-pidfile", "/run/m/0123/pid", "-S", "-action", "reboot=reset,shutdown=pause,panic=pause"],
      ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
      ...["-kernel", "/g/kernel", "-initrd", "/g/initrd", "-append", "quiet terrarium.hold"],
      ...["-chardev", "socket,id=monitor,path=/run/m/0123/monitor.sock,server=on,wait=off", "-mon", "chardev=monitor,mode=control"],
      ...["-vnc", "unix:/run/m/0123/display.sock", "-device", '{"driver":"VGA","id":"vga0","bus":"pcie.0","vgamem_mb":32}'],
      ...["-device", '{"driver":"qemu-xhci","id":"usb","bus":"pcie.0"}', "-device", '{"driver":"usb-tablet","id":"tablet","bus":"usb.0"}'],
      ...["-chardev", "socket,id=serial0,path=/run/m/0123/serial0.sock,server=on,wait=off,logfile=/home/me/machines/a/logs/serial0.log,logappend=on", "-serial", "chardev:serial0"],
      ...["-device", '{"driver":"virtio-serial-pci","id":"ports","bus":"pcie.0"}', "-chardev", "socket,id=agent,path=/run/m/0123/agent.sock,server=on,wait=off"],
      ...["-device", '{"driver":"virtserialport","id":"agent0","bus":"ports.0","chardev":"agent","name":"org.qemu.guest_agent.0"}'],
      ...["-device", '{"driver":"virtio-rng-pci","id":"rng0","bus":"pcie.0"}', "-device", '{"driver":"virtio-balloon-pci","id":"balloon0","bus":"pcie.0","free-page-reporting":true}'],
      ...["-device", '{"driver":"pvpanic-pci","id":"panic0","bus":"pcie.0"}'],
      ...["-device", '{"driver":"ich9-ahci","id":"sata","bus":"pcie.0"}', "-device", '{"driver":"virtio-scsi-pci","id":"scsi","bus":"pcie.0"}'],
      ...[...port("disk0", 1), ...port("disk1", 2), ...port("disk2", 3), ...port("disk3", 4), ...port("net0", 5), ...port("net1", 6), ...port("net2", 7), ...port("net3", 8)],
      ...["-blockdev", '{"driver":"raw","node-name":"disk0-ff9d9c85","discard":"unmap","file":{"driver":"file","filename":"/home/me/machines/a/disks/disk0/0.raw","discard":"unmap"}}'],
      ...["-device", '{"driver":"virtio-blk-pci","bus":"port-disk0","id":"disk0","drive":"disk0-ff9d9c85","serial":"disk0","werror":"stop","rerror":"stop"}'],
      ...["-device", '{"driver":"ide-cd","id":"cd0","bus":"sata.5"}'],
      ...["-netdev", '{"type":"stream","id":"cable0","server":true,"addr":{"type":"unix","path":"/run/m/0123/net0.sock"}}'],
      ...["-device", '{"driver":"virtio-net-pci","id":"net0","netdev":"cable0","mac":"52:54:00:00:00:01","bus":"port-net0","romfile":""}'],
    ]);
  });

  it("says what the settings say: processors, memory, clock, machine version, CPU model, extra arguments last", () => {
    const args = argv({
      memoryMiB: 4096,
      cpus: 4,
      hardware: { machineVersion: "6.0", cpuModel: "qemu64,+aes", topology: { sockets: 1, cores: 2, threads: 2 }, clock: "local", extraArguments: ["-global", "x=y"] },
    });
    expect(values(args, "-machine")).toEqual(["pc-q35-6.0,usb=off,vmport=off"]);
    expect(values(args, "-cpu")).toEqual(["qemu64,+aes"]);
    expect(values(args, "-smp")).toEqual(["cpus=4,sockets=1,cores=2,threads=2,maxcpus=4"]);
    expect(values(args, "-rtc")).toEqual(["base=localtime"]);
    expect(args.slice(-2)).toEqual(["-global", "x=y"]);
  });

  it("puts every device of the old mainboard on its one bus", () => {
    const args = argv({ hardware: { chipset: "pc" }, disks: oneDisk, adapters: [adapter] });
    expect(values(args, "-machine")).toEqual(["pc-i440fx-7.2,usb=off,vmport=off"]);
    expect(args.join(" ")).not.toMatch(/pcie/);
    expect(device(args, "disk0")).toMatchObject({ bus: "pci.0" });
    expect(values(args, "-device")).toContainEqual({ driver: "pvpanic" });
  });

  it("starts UEFI with its code and the machine's own variables, and refuses where the host has none", () => {
    const args = argv({ hardware: { firmware: "uefi" }, boot: { kind: "firmware", order: "disk" } });
    expect(values(args, "-machine")).toEqual(["pc-q35-7.2,usb=off,vmport=off,pflash0=firmware-code,pflash1=firmware-variables"]);
    expect(node(args, "firmware-code")).toEqual({ driver: "raw", "node-name": "firmware-code", "read-only": true, file: { driver: "file", filename: "/fw/code.fd" } });
    expect(node(args, "firmware-variables")).toEqual({ driver: "qcow2", "node-name": "firmware-variables", backing: null, file: { driver: "file", filename: "/home/me/machines/a/nvram/variables.qcow2" } });
    expect(() => argv({ hardware: { firmware: "uefi" } }, {}, { firmware: undefined })).toThrow(expect.objectContaining({ code: "unavailable", remedy: expect.stringContaining("ovmf") as string }));
  });

  it("puts disks on the bus they are set to", () => {
    const disks = (["virtio", "sata", "scsi"] as const).map((bus, place) => ({ id: `disk${place}`, sizeBytes: 512, layers: [{ file: `${place}.raw`, format: "raw" as const }], bus }));
    const args = argv({ disks });
    expect(device(args, "disk0")).toMatchObject({ driver: "virtio-blk-pci", bus: "port-disk0" });
    expect(device(args, "disk1")).toMatchObject({ driver: "ide-hd", bus: "sata.1" });
    expect(device(args, "disk2")).toMatchObject({ driver: "scsi-hd", bus: "scsi.0", "scsi-id": 2 });
    // A failed write stops the machine on each of them.
    for (const name of ["disk0", "disk1", "disk2"]) expect(device(args, name)).toMatchObject({ werror: "stop", rerror: "stop" });
  });

  it("names every layer of a disk itself, so that no image leads to another file", () => {
    const layers = [{ file: "base.raw", format: "raw" as const }, { file: "1.qcow2", format: "qcow2" as const }, { file: "/elsewhere/89abcdef.qcow2", format: "qcow2" as const }];
    expect(diskNode({ id: "disk1", sizeBytes: 512, layers }, "/m")).toEqual({
      driver: "qcow2",
      "node-name": "disk1-89abcdef",
      discard: "unmap",
      file: { driver: "file", filename: "/elsewhere/89abcdef.qcow2", discard: "unmap" },
      backing: {
        driver: "qcow2",
        "node-name": "disk1-02855428",
        "read-only": true,
        file: { driver: "file", filename: "/m/1.qcow2" },
        backing: { driver: "raw", "node-name": "disk1-e75c9d1a", "read-only": true, file: { driver: "file", filename: "/m/base.raw" } },
      },
    });
    expect(diskNode({ id: "disk0", sizeBytes: 512, layers: [{ file: "1.qcow2", format: "qcow2" }] }, "/m")).toMatchObject({ backing: null });
  });

  it("boots from the CD or from the disks first, and lets a kernel alone", () => {
    const order = (boot: MachineConfig["boot"]): unknown[] => {
      const args = argv({ boot, disks: oneDisk, drives: [{ id: "cd0", medium: "/isos/a.iso" }] });
      return [device(args, "disk0")?.["bootindex"], device(args, "cd0")?.["bootindex"]];
    };
    expect(order({ kind: "firmware", order: "cd" })).toEqual([1, 0]);
    expect(order({ kind: "firmware", order: "disk" })).toEqual([0, 5]);
    expect(order({ kind: "kernel", kernel: "/k", cmdline: "" })).toEqual([undefined, undefined]);
    expect(argv({ boot: { kind: "kernel", kernel: "/k", initrd: "/i", cmdline: "a b" } }).join(" ")).toContain("-kernel /k -initrd /i -append a b");
  });

  it("shows a medium and a seed read-only", () => {
    const args = argv({ drives: [{ id: "cd0", medium: "/isos/a.iso" }], seed: "seed/seed.iso" });
    expect(node(args, "cd0-medium")).toMatchObject({ driver: "raw", "read-only": true, file: { filename: "/isos/a.iso" } });
    expect(device(args, "cd0")).toMatchObject({ drive: "cd0-medium" });
    expect(node(args, "seed")).toMatchObject({ "read-only": true, file: { filename: "/home/me/machines/a/seed/seed.iso" } });
  });

  it("writes a comma in a name or a path twice where QEMU splits at commas", () => {
    const args = argv({ name: "a,b", disks: [{ id: "disk0", sizeBytes: 512, layers: [{ file: "x,y.raw", format: "raw" }] }] }, { serialLog: "/m,n/serial0.log" });
    expect(args).toContain("guest=a,,b");
    expect(args.find((word) => word.includes("id=serial0"))).toContain("logfile=/m,,n/serial0.log");
    expect(node(args, "disk0-5a9bcdbe")).toMatchObject({ file: { filename: "/home/me/machines/a/x,y.raw" } });
  });

  it("gives every adapter a cable of our own kind and no other way out, whatever its model and mode", () => {
    const modes = ["nat", "bridged", "internal", "host-only"] as const;
    const adapters = modes.map((mode, index) => ({ mac: `52:54:00:00:00:0${index}`, model: index % 2 === 0 ? ("virtio" as const) : ("e1000" as const), attachment: { mode, network: "n" }, plugged: true }));
    const args = argv({ adapters });
    expect(values(args, "-netdev")).toEqual(modes.map((_, slot) => ({ type: "stream", id: `cable${slot}`, server: true, addr: { type: "unix", path: `/run/m/0123/net${slot}.sock` } })));
    expect(device(args, "net1")).toMatchObject({ driver: "e1000", netdev: "cable1" });
    expect(args.join(" ")).not.toMatch(/-nic|"type":"(user|tap|bridge)"|-netdev (user|tap|bridge)/);
  });

  it("waits for a state when one is loaded", () => {
    expect(argv({}, { incoming: true }).slice(-2)).toEqual(["-incoming", "defer"]);
  });

  it("confines QEMU only where it can be", () => {
    expect(argv({}, {}, { sandbox: false })).not.toContain("-sandbox");
    expect(values(argv({}, {}, { accelerator: { id: "kvm", argument: "kvm", cpuModel: "host" } }), "-accel")).toEqual(["kvm"]);
  });
});

describe("what QEMU is told before the guest runs", () => {
  it("pulls the cables that are not plugged, and sets limits", () => {
    const config = makeConfig({ adapters: [adapter, { ...adapter, mac: "52:54:00:00:00:02" }], disks: [{ ...oneDisk[0], id: "disk0", sizeBytes: 512, layers: oneDisk[0]?.layers ?? [], limits: { bytesPerSecond: 1_000_000 } }] });
    expect(beforeStart(config, [true, false, false, false])).toEqual([
      { execute: "set_link", arguments: { name: "net1", up: false } },
      { execute: "block_set_io_throttle", arguments: { id: "/machine/peripheral/disk0/virtio-backend", bps: 1_000_000, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 } },
    ]);
  });

  it("limits a disk on another bus by its device", () => {
    expect(limitDisk({ id: "disk1", sizeBytes: 512, layers: [], bus: "sata", limits: { operationsPerSecond: 50 } }).arguments).toMatchObject({ id: "disk1", iops: 50, bps: 0 });
  });
});

describe("extra arguments", () => {
  it("come last, as they are", () => {
    expect(argv({ hardware: { extraArguments: ["-device", "edu", "-d", "guest_errors"] } }).slice(-4)).toEqual(["-device", "edu", "-d", "guest_errors"]);
  });

  it.each([["-netdev", "user,id=x"], ["--nic", "user"], ["-net", "tap"], ["-daemonize"], ["-pidfile", "/tmp/other"], ["-incoming", "tcp:127.0.0.1:4999"], ["-sandbox", "off"], ["-readconfig", "/tmp/file"], ["-snapshot"], ["-vnc", ":1"], ["-display", "gtk"], ["-nographic"], ["-S"], ["-no-shutdown"], ["-loadvm", "x"]])("are refused when they are %s", (...extraArguments) => {
    expect(() => argv({ hardware: { extraArguments } })).toThrow(expect.objectContaining({ code: "invalid-input", message: expect.stringContaining(`extra argument ${extraArguments[0]} is refused`) as string }) as Error);
  });
});

describe("extra arguments that a setting is there for", () => {
  it.each([
    ["-m", "2G", "memory"],
    ["--smp", "4", "processors"],
    ["-cpu", "host", "CPU model"],
    ["-machine", "pc", "chipset"],
    ["-M", "q35", "chipset"],
    ["-accel", "kvm", "accelerator"],
    ["-rtc", "base=localtime", "clock"],
    ["-kernel", "/boot/vmlinuz", "boots"],
    ["-pflash", "/tmp/code.fd", "firmware"],
  ])("are refused, and the setting is named: %s", (option, value, setting) => {
    expect(refusedArgument([option, value])).toEqual({ argument: option, because: expect.stringContaining(setting) as string });
  });

  it.each([[["-device", "help"], "-device help"], [["-device", "virtio-net-pci,help"], "-device virtio-net-pci,help"], [["-audio", "driver=help"], "-audio driver=help"], [["-d", "?"], "-d ?"], [["help"], "help"], [["-version"], "-version"]])("are refused when QEMU would only print and end: %j", (words, named) => {
    expect(refusedArgument(words)).toEqual({ argument: named, because: expect.stringContaining("no machine starts") as string });
  });

  it.each([["-machine", "type=pc"], ["-M", "smm=off,accel=kvm"], ["-machine", "memory.size=1G"], ["-machine", "pflash0=mine"], ["-machine", "pc,smm=off"], ["-machine", '{"type":"pc"}'], ["-rtc", "driftfix=slew,base=utc"]])("are refused in part: %s %s", (option, value) => {
    expect(refusedArgument([option, value])).toMatchObject({ argument: option });
  });

  it.each([["-machine", "smm=off"], ["-machine", "kernel-irqchip=split,hpet=off"], ["-machine", "memory-backend=shared"], ["-rtc", "driftfix=slew"], ["-rtc", "base=2001-09-09T01:46:40"], ["-fw_cfg", "name=opt/x,string=help"], ["-smbios", "type=11,value=help"], ["-device", "usb-host,vendorid=0x1234"], ["-object", "rng-random,id=r"]])("may say what no setting is there for: %s %s", (...words) => {
    expect(refusedArgument(words)).toBeUndefined();
  });

  it("are not confused with others that look like them", () => {
    expect(refusedArgument(["-s", "-smbios", "type=1,serial=help-desk", "-msg", "guest-name=on", "-mem-prealloc", "-name2"])).toBeUndefined();
  });
});

describe("what a saved state depends on", () => {
  it("is everything that the configuration leaves to the host", () => {
    expect(stateFacts(makeConfig({ adapters: [] }), qemu)).toEqual({ "machine type": "pc-q35-7.2", "CPU model": "max", "CPU topology": "cpus=1,sockets=1,cores=1,threads=1,maxcpus=1", accelerator: "tcg", firmware: "BIOS", "disc for cloud-init": "", "extra arguments": "" });
  });

  it("is the hardware that QEMU would not load it into", () => {
    const before = makeConfig({ disks: oneDisk, adapters: [adapter] });
    const differs = (patch: Partial<MachineConfig>): string | undefined => savedDifference(facts(before), facts({ ...before, ...patch }));
    const facts = (config: MachineConfig): SavedFacts => savedFacts(config, { id: "qemu", facts: stateFacts(config, qemu) }, { savedAt: 1, identified: true });
    expect(differs({})).toBeUndefined();
    expect(differs({ disks: oneDisk.map((disk) => ({ ...disk, bus: "sata" as const })) })).toBe("its bus of disk0 was virtio and is sata now");
    expect(differs({ adapters: [{ ...adapter, model: "e1000" }] })).toBe("its model of adapter 0 was virtio and is e1000 now");
    expect(differs({ hardware: { firmware: "uefi" } })).toBe("its firmware was BIOS and is UEFI now");
    expect(differs({ hardware: { topology: { sockets: 1, cores: 1, threads: 1 } } })).toBeUndefined();
    expect(differs({ seed: "seed/seed.iso" })).toBe("its disc for cloud-init was none and is seed/seed.iso now");
    expect(differs({ adapters: [] })).toBe("it had 1 adapter and has 0 now");
  });
});
