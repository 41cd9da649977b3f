import { closeSync, copyFileSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DisposableStore } from "../../core/base/disposable";
import { AgentClient } from "../support/agentClient";
import { startEmulator, type EmulatorProcess } from "../support/emulatorProcess";

/**
 * What the starter guest promises, seen from outside. It boots once and is made anonymous; every test goes on from that
 * state with a disk of its own.
 */
const diskBytes = 2 * 1024 ** 3;
const state = "anonymous.state";
const memory = 128;
let base: string;
let baseStore: DisposableStore;
let store: DisposableStore;
let bootText: string;

const identities = {
  fern: {
    hostname: "blue-fern",
    machineId: "0123456789abcdef0123456789abcdef",
    seed: Buffer.alloc(64, 1).toString("base64"),
    authorizedKeys: "",
    macs: ["52:54:00:aa:00:00", "52:54:00:aa:00:01", "52:54:00:aa:00:02", "52:54:00:aa:00:03"],
    time: 1_900_000_000_000,
    blankDisk: true,
  },
  moss: {
    hostname: "old-moss",
    machineId: "fedcba9876543210fedcba9876543210",
    seed: Buffer.alloc(64, 2).toString("base64"),
    authorizedKeys: "",
    macs: ["52:54:00:bb:00:00", "52:54:00:bb:00:01", "52:54:00:bb:00:02", "52:54:00:bb:00:03"],
    time: 1_900_000_000_000,
    blankDisk: true,
  },
};
type Identity = (typeof identities)["fern"];

interface IdentityAnswer {
  readonly hostname: string;
  readonly data: { readonly state: string; readonly reason?: string; readonly check?: string };
  readonly failed?: readonly string[];
  readonly milliseconds: Readonly<Record<string, number>>;
}

beforeAll(async () => {
  baseStore = new DisposableStore();
  base = mkdtempSync(join(tmpdir(), "guest-base-"));
  baseStore.add({ dispose: () => rmSync(base, { recursive: true, force: true }) });
  const machine = baseStore.add(startEmulator({ memory, disks: [{ file: emptyDisk(base) }], cd: null, append: "terrarium.hold" }));
  const agent = await AgentClient.connect(machine);
  const serial = await machine.serial();
  await (await machine.qmp()).execute("cont");
  await agent.synchronise();
  bootText = serial.text;
  expect(await agent.call("terrarium-prepare")).toEqual({});
  await (await machine.qmp()).execute("stop");
  await (await machine.qmp()).save(join(base, state));
  await machine.quit();
}, 300_000);
afterAll(() => baseStore.dispose());

beforeEach(() => {
  store = new DisposableStore();
});
afterEach(() => store.dispose());

function emptyDisk(folder: string): string {
  const file = join(folder, "disk.img");
  writeFileSync(file, "");
  truncateSync(file, diskBytes);
  return file;
}

interface Guest {
  readonly machine: EmulatorProcess;
  readonly agent: AgentClient;
  readonly disk: string;
}

/** A machine that goes on from the anonymous state and is still nobody. */
async function wake(disk?: string): Promise<Guest> {
  const directory = mkdtempSync(join(tmpdir(), "guest-"));
  store.add({ dispose: () => rmSync(directory, { recursive: true, force: true }) });
  const file = disk ?? emptyDisk(directory);
  const machine = store.add(startEmulator({ memory, disks: [{ file }], cd: null, directory, incoming: true }));
  const qmp = await machine.qmp();
  await qmp.execute("migrate-incoming", { uri: `file:${join(base, state)}` });
  await machine.serial();
  const agent = await AgentClient.connect(machine);
  await qmp.execute("cont");
  return { machine, agent, disk: file };
}

async function become(guest: Guest, identity: Partial<Identity> = identities.fern): Promise<IdentityAnswer> {
  const answer = await guest.agent.call<IdentityAnswer>("terrarium-identity", identity);
  expect(answer.failed ?? []).toEqual([]);
  return answer;
}

function bytesAt(file: string, offset: number, count: number): Buffer {
  const bytes = Buffer.alloc(count);
  const handle = openSync(file, "r");
  readSync(handle, bytes, 0, count, offset);
  closeSync(handle);
  return bytes;
}

describe("the starter guest", () => {
  it("touches no disk and shows no prompt before it is somebody", async () => {
    expect(bootText).not.toContain("# ");
    const guest = await wake();
    expect((await guest.agent.exec("ls", ["/dev/vda"])).exitcode).not.toBe(0);
    expect(await guest.agent.shell("ls /etc/machine-id /etc/dropbear /root/.ssh 2>/dev/null | grep -c key || true")).toBe("0");
    expect(bytesAt(guest.disk, 1024, 1024).every((byte) => byte === 0)).toBe(true);
  });

  it("becomes who it is told to be, formats the empty disk, and shows the new name at the prompt", async () => {
    const guest = await wake();
    const answer = await become(guest);
    expect(answer).toMatchObject({ hostname: "blue-fern", data: { state: "formatted" } });
    const serial = await guest.machine.serial();
    await serial.until(/root@blue-fern:~# /);
    const { agent } = guest;
    expect(await agent.shell("cat /etc/machine-id")).toBe(identities.fern.machineId);
    expect(await agent.shell("for n in 0 1 2 3; do cat /sys/class/net/eth$n/address; done")).toBe(identities.fern.macs.join("\n"));
    expect(Math.abs(Number(await agent.call("guest-get-time")) / 1e6 - identities.fern.time)).toBeLessThan(600_000);
    expect(await agent.shell("grep ' /data ' /proc/mounts")).toMatch(/^\/dev\/vda \/data ext4 rw/);
    await (await guest.machine.shell()).run("echo kept > /data/note");
    await agent.call("terrarium-sync");
    expect(bytesAt(guest.disk, 1024 + 56, 2).readUInt16LE()).toBe(0xef53);
  });

  it("shares neither random numbers nor host key with another machine from the same state", async () => {
    const seen = [];
    for (const identity of [identities.fern, identities.moss]) {
      const guest = await wake();
      await become(guest, identity);
      const random = await guest.agent.shell("head -c 32 /dev/urandom | od -An -tx1");
      const boot = await guest.agent.shell("cat /proc/sys/kernel/random/boot_id");
      const key = await guest.agent.shell("until dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key 2>/dev/null; do usleep 50000; done");
      seen.push({ random, boot, key: /ssh-ed25519 \S+/.exec(key)?.[0] });
      await guest.machine.quit();
    }
    expect(seen[0]?.key).toBeDefined();
    for (const name of ["random", "boot", "key"] as const) expect(seen[0]?.[name]).not.toBe(seen[1]?.[name]);
  });

  it("mounts a disk that it formatted before, and leaves one alone that holds something else", async () => {
    const first = await wake();
    await become(first);
    await first.agent.shell("echo kept > /data/note");
    first.agent.send("guest-shutdown", { mode: "powerdown" });
    expect(await first.machine.exit).toBe(0);
    // Clean: mounted state 1, and no journal to replay (incompatible feature bit 2).
    expect(bytesAt(first.disk, 1024 + 58, 2).readUInt16LE() & 3).toBe(1);
    expect(bytesAt(first.disk, 1024 + 96, 4).readUInt32LE() & 4).toBe(0);

    const copy = join(base, "formatted.img");
    copyFileSync(first.disk, copy);
    const second = await wake(copy);
    const answer = await become(second, identities.moss);
    expect(answer.data.state).toBe("mounted");
    expect(await second.agent.shell("cat /data/note")).toBe("kept");

    const foreign = await wake();
    const handle = openSync(foreign.disk, "r+");
    writeSync(handle, "a boot sector", 440);
    closeSync(handle);
    expect((await become(foreign)).data).toMatchObject({ state: "foreign" });
    expect(bytesAt(foreign.disk, 440, 13).toString()).toBe("a boot sector");
  });

  it("formats no disk that holds something anywhere, whether the host says so or nobody does", async () => {
    const middle = 5 * 1024 * 1024;
    const { blankDisk: _said, ...identity } = identities.fern;
    for (const said of [{ blankDisk: false }, {}]) {
      const guest = await wake();
      const handle = openSync(guest.disk, "r+");
      writeSync(handle, "somebody's work", middle);
      closeSync(handle);
      expect((await become(guest, { ...identity, ...said })).data).toMatchObject({ state: "foreign" });
      expect(bytesAt(guest.disk, middle, 15).toString()).toBe("somebody's work");
      expect(bytesAt(guest.disk, 1024, 1024).every((byte) => byte === 0)).toBe(true);
    }
    expect((await become(await wake(), identities.fern)).data).toMatchObject({ state: "formatted" });
  });

  it("speaks the guest agent's protocol, and survives what is none", async () => {
    const { agent } = await wake();
    await agent.call("terrarium-identity", identities.fern);
    expect(await agent.call("guest-ping")).toEqual({});
    expect(await agent.raw(Buffer.from('half a request\xff{"execute":"guest-sync-delimited","arguments":{"id":42}}\n', "latin1"))).toBe('\xff{"return":42}\n');
    expect(await agent.call("guest-get-osinfo")).toMatchObject({ id: "terrarium-starter", machine: "i686" });
    expect(await agent.call("guest-get-host-name")).toEqual({ "host-name": "blue-fern" });
    const info = await agent.call<{ supported_commands: { name: string }[] }>("guest-info");
    expect(info.supported_commands.map((command) => command.name)).toContain("guest-exec");
    const interfaces = await agent.call<{ name: string; "hardware-address"?: string }[]>("guest-network-get-interfaces");
    expect(interfaces.map((one) => one.name)).toEqual(["lo", "eth0", "eth1", "eth2", "eth3"]);
    expect(interfaces[1]?.["hardware-address"]).toBe("52:54:00:aa:00:00");

    expect(await agent.request("guest-nothing")).toEqual({
      error: { class: "CommandNotFound", desc: "The command guest-nothing has not been found" },
    });
    for (const line of ["{", "[]", '{"execute":5}', '{"execute":"guest-sync"}', '{"execute":"guest-exec","arguments":[]}', `${"[".repeat(5000)}`, '"\\ud800"', "\u0000\u0001"]) {
      expect(JSON.parse(await agent.raw(`${line}\n`))).toMatchObject({ error: { class: "GenericError" } });
    }
    expect(await agent.request("terrarium-identity", { hostname: "-rm; reboot" })).toMatchObject({ error: { class: "GenericError" } });
    expect(await agent.call("guest-get-host-name")).toEqual({ "host-name": "blue-fern" });
    expect(JSON.parse(await agent.raw('{"execute":"guest-ping","id":"mine"}\n'))).toEqual({ return: {}, id: "mine" });
  });

  it("runs programs with input, both outputs, exit codes and signals, and cuts what is too much", async () => {
    const { agent } = await wake();
    const upper = await agent.exec("tr", ["a-z", "A-Z"], { "input-data": Buffer.from("hello ümlaut").toString("base64") });
    expect(upper).toMatchObject({ exitcode: 0, out: "HELLO üMLAUT" });
    expect(await agent.exec("sh", ["-c", "echo out; echo err >&2; exit 3"])).toMatchObject({ exitcode: 3, out: "out\n", err: "err\n" });
    expect(await agent.exec("sh", ["-c", "kill -9 $$"])).toMatchObject({ signal: 9 });
    expect(await agent.exec("sh", ["-c", "echo $WHAT"], { env: ["WHAT=this"] })).toMatchObject({ out: "this\n" });
    const failed = await agent.request("guest-exec", { path: "/no/such/program" });
    expect(failed.error?.desc).toMatch(/No such file/);
    const big = await agent.exec("sh", ["-c", "head -c 5000000 /dev/zero | tr '\\0' x"]);
    expect(big.outTruncated).toBe(true);
    expect(big.out.length).toBe(4 * 1024 * 1024);
    expect((await agent.request("guest-exec-status", { pid: 1 })).error?.class).toBe("GenericError");
  });

  it("holds /data still while frozen, and serves a page that says who it is", async () => {
    const guest = await wake();
    await become(guest);
    const { agent } = guest;
    expect(await agent.call("guest-fsfreeze-status")).toBe("thawed");
    expect(await agent.call("guest-fsfreeze-freeze")).toBe(1);
    expect(await agent.call("guest-fsfreeze-status")).toBe("frozen");
    const writer = await agent.call<{ pid: number }>("guest-exec", { path: "sh", arg: ["-c", "echo late > /data/late"], "capture-output": true });
    expect(await agent.call("guest-exec-status", { pid: writer.pid })).toEqual({ exited: false });
    expect(await agent.call("guest-fsfreeze-thaw")).toBe(1);
    expect(await agent.shell("until grep -s late /data/late; do usleep 20000; done")).toBe("late");

    const page = await agent.shell("wget -q -O - http://127.0.0.1/");
    expect(page).toContain("<h1>blue-fern</h1>");
  });

  it("lets in by SSH who has the key, and nobody by password", async () => {
    const guest = await wake();
    const { agent } = guest;
    await agent.shell("dropbearkey -t ed25519 -f /tmp/mine >/dev/null 2>&1; dropbearkey -t ed25519 -f /tmp/other >/dev/null 2>&1");
    const authorizedKeys = await agent.shell("dropbearkey -y -f /tmp/mine | grep ^ssh-");
    await become(guest, { ...identities.fern, authorizedKeys: `${authorizedKeys}\n` });
    const ssh = (key: string): Promise<string> =>
      agent.shell(`until netstat -tln 2>/dev/null | grep -q ':22 '; do usleep 50000; done; ssh -y -i ${key} root@127.0.0.1 hostname 2>&1 </dev/null; echo $?`);
    expect(await ssh("/tmp/mine")).toMatch(/^blue-fern\n0$/m);
    const refused = await ssh("/tmp/other");
    expect(refused).toMatch(/No auth methods could be used|Permission denied|closed/i);
    expect(refused).not.toMatch(/password/i);
  });

  it("asks for an address as soon as a cable is plugged, and again when it is plugged anew", async () => {
    const guest = await wake();
    await become(guest);
    const cable = await guest.machine.connect("net1.sock");
    let received = Buffer.alloc(0);
    const look = new Set<() => void>();
    cable.on("data", (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      for (const one of look) one();
    });
    // A DHCP discover from the adapter: its hardware address, then UDP from port 68 to port 67.
    const discover = (from: number): Promise<number> =>
      new Promise((resolve) => {
        const one = (): void => {
          const at = received.indexOf(Buffer.from("00440043", "hex"), from);
          if (at < 0) return;
          look.delete(one);
          resolve(at);
        };
        look.add(one);
        one();
      });
    const qmp = await guest.machine.qmp();
    await qmp.execute("set_link", { name: "net1", up: true });
    await discover(0);
    expect(received.includes(Buffer.from("525400aa0001", "hex"))).toBe(true);
    await qmp.execute("set_link", { name: "net1", up: false });
    await guest.agent.shell("while pidof udhcpc; do usleep 20000; done");
    const before = received.length;
    await qmp.execute("set_link", { name: "net1", up: true });
    await discover(before);

    // What it counts of memory and of every card is what its kernel counts. Nothing more is sent once the cable is pulled.
    await qmp.execute("set_link", { name: "net1", up: false });
    await guest.agent.shell("while pidof udhcpc; do usleep 20000; done");
    const usage = await guest.agent.call<{ memory: Record<string, number>; interfaces: { "hardware-address": string; statistics: Record<string, number> }[] }>("terrarium-usage");
    const counted = await guest.agent.shell("cd /sys/class/net; for n in 0 1 2 3; do echo $(cat eth$n/address eth$n/statistics/rx_bytes eth$n/statistics/tx_bytes); done");
    const cards = usage.interfaces.filter((one) => identities.fern.macs.includes(one["hardware-address"]));
    expect(cards.map((one) => `${one["hardware-address"]} ${one.statistics["rx-bytes"]} ${one.statistics["tx-bytes"]}`)).toEqual(counted.split("\n"));
    expect(cards[1]?.statistics["tx-bytes"]).toBeGreaterThan(300);
    expect(usage.memory["total-bytes"]).toBe(1024 * Number(await guest.agent.shell("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")));
    expect(usage.memory["available-bytes"]).toBeGreaterThan(10 * 2 ** 20);
    expect(usage.memory["available-bytes"]).toBeLessThan(usage.memory["total-bytes"]!);
  });

  it("powers off at the power button and writes its disk out", async () => {
    const guest = await wake();
    await become(guest);
    const serial = await guest.machine.serial();
    await serial.until(/root@blue-fern:~# /);
    await (await guest.machine.shell()).run("cd /data; echo unsynced > note");
    const qmp = await guest.machine.qmp();
    await qmp.execute("system_powerdown");
    await qmp.event("SHUTDOWN");
    expect(await guest.machine.exit).toBe(0);
    expect(bytesAt(guest.disk, 1024 + 96, 4).readUInt32LE() & 4).toBe(0);
    expect(bytesAt(guest.disk, 1024 + 58, 2).readUInt16LE() & 3).toBe(1);
  });

  it("resets at the command reboot", async () => {
    const guest = await wake();
    await become(guest);
    await (await guest.machine.serial()).until(/root@blue-fern:~# /);
    guest.agent.send("guest-shutdown", { mode: "reboot" });
    await (await guest.machine.qmp()).event("RESET");
  });
});
