import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, expect, it } from "vitest";
import { TerrariumError } from "../../../core/contract/errors";
import type { MachineInfo } from "../../../core/contract/model";
import type { AdapterConfig, AdapterStatus, PortForward } from "../../../core/contract/network";
import { sshRoute } from "../../../core/contract/sshRoute";
import { PtyStream, type Pty } from "../../../electron/pseudoTerminal";
import { findProgram, sshArguments } from "../../../electron/ssh";
import { spawnPty, Terminals, type TerminalSurroundings } from "../../../electron/terminals";
import { fakeMachine } from "../../support/fakeDesktop";
import { useTemporaryFolder } from "../../support/temporaryFolder";
import { until } from "../server/fakeHost";

const nat: AdapterConfig = { mac: "52:54:00:00:00:07", attachment: { mode: "nat" }, plugged: true };
const ssh: PortForward = { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222, guestPort: 22 };

function machineWith(adapters: AdapterConfig[], part: Partial<Omit<MachineInfo, "config">> & { config?: Partial<NonNullable<MachineInfo["config"]>> } = {}): MachineInfo {
  return fakeMachine("web", { state: "running", ...part, config: { ...part.config, adapters } });
}

describe("the way to a guest by ssh", () => {
  it("is a forward that leads to port 22, also as one of a range", () => {
    expect(sshRoute(machineWith([{ ...nat, forwards: [ssh] }]))).toMatchObject({ by: "forward", address: "127.0.0.1", port: 2222, user: "root", starter: true });
    expect(sshRoute(machineWith([{ ...nat, forwards: [{ ...ssh, hostAddress: "0.0.0.0", hostPort: 8000, guestPort: 20, count: 5 }] }]))).toMatchObject({ by: "forward", address: "127.0.0.1", port: 8002 });
    expect(sshRoute(machineWith([{ ...nat, forwards: [{ ...ssh, protocol: "udp" }] }]))).toMatchObject({ by: "new-forward", adapter: 0 });
  });

  it("is a new forward where the one there is does not listen", () => {
    const network: AdapterStatus[] = [{ adapter: 0, connected: true, forwards: [{ forward: ssh, problem: { code: "locked", message: "used" } }] }];
    expect(sshRoute(machineWith([{ ...nat, forwards: [ssh] }], { network }))).toMatchObject({ by: "new-forward" });
  });

  it("is the guest's own address where this computer is on its network", () => {
    const hostOnly: AdapterConfig = { ...nat, attachment: { mode: "host-only", network: "bench" } };
    expect(sshRoute(machineWith([hostOnly, { ...nat, forwards: [] }], { network: [{ adapter: 0, connected: true, address: "192.168.56.100", forwards: [] }] }))).toMatchObject({ by: "address", address: "192.168.56.100", port: 22 });
    expect(sshRoute(machineWith([hostOnly]))).toMatchObject({ refused: "web has no address yet." });
  });

  it("is none without a cable that leads here, or while the machine is off; it says what to do", () => {
    expect(sshRoute(machineWith([{ ...nat, attachment: { mode: "internal", network: "lab" } }]))).toMatchObject({ refused: "No cable of web leads to this computer." });
    expect(sshRoute(machineWith([{ ...nat, plugged: false }]))).toHaveProperty("remedy");
    expect(sshRoute(machineWith([nat], { state: "off" }))).toMatchObject({ remedy: "Start it first." });
  });

  it("knows who logs in only where Terrarium has made the login", () => {
    const boot = { kind: "firmware" as const, order: "disk" as const };
    expect(sshRoute(machineWith([nat], { config: { boot, login: { user: "debian" } } }))).toMatchObject({ user: "debian", starter: false });
    expect(sshRoute(machineWith([nat], { config: { boot } }))).toMatchObject({ user: undefined });
  });
});

describe("what ssh is told", () => {
  const login = { machineId: "m1", user: "root", address: "127.0.0.1", port: 2222, key: "/home/a b/100%/id", knownHosts: "/home/a b/known", keyIsKnown: true };

  it("is understood by the ssh of this computer", () => {
    // `ssh -G` prints the configuration it would use, and connects to nobody.
    const said = execFileSync("ssh", ["-G", ...sshArguments(login)], { encoding: "utf8" }).toLowerCase().split("\n");
    expect(said).toEqual(expect.arrayContaining(["user root", "port 2222", "hostkeyalias terrarium-m1", "userknownhostsfile /home/a b/known", "stricthostkeychecking true", "identitiesonly yes"]));
    // It is printed as it was given; two of them stand for one when the file is opened.
    expect(said).toContain("identityfile /home/a b/100%%/id");
  });

  it("takes the key of a guest that is not ours the first time, and no other ever after", () => {
    const said = execFileSync("ssh", ["-G", ...sshArguments({ ...login, keyIsKnown: false })], { encoding: "utf8" }).toLowerCase().split("\n");
    expect(said).toContain("stricthostkeychecking accept-new");
  });

  it("leaves the person's own keys and settings in force for other guests", () => {
    const args = sshArguments({ ...login, key: undefined, user: "debian", keyIsKnown: false });
    expect(args).not.toContain("none");
    expect(args.join(" ")).not.toContain("IdentitiesOnly");
    expect(args.slice(-2)).toEqual(["--", "127.0.0.1"]);
  });
});

describe("a login to a guest", () => {
  const temporary = useTemporaryFolder();
  const behindNat = (part: Partial<MachineInfo> = {}, adapter = nat) => machineWith([adapter], { folder: join(temporary.path, "machine"), ...(part as object) });
  function terminals(part: Partial<TerminalSurroundings> = {}, machine = behindNat()) {
    const calls: { name: string; input: unknown }[] = [];
    const spawned: string[][] = [];
    const folder = temporary.path;
    mkdirSync(join(folder, "home", "ssh"), { recursive: true });
    writeFileSync(join(folder, "home", "ssh", "id_ed25519"), "key");
    mkdirSync(join(folder, "bin"), { recursive: true });
    writeFileSync(join(folder, "bin", "ssh"), "#!/bin/sh\n");
    chmodSync(join(folder, "bin", "ssh"), 0o755);
    mkdirSync(join(folder, "machine", "ssh"), { recursive: true });
    writeFileSync(join(folder, "machine", "ssh", "known_hosts"), "terrarium-m1 ssh-ed25519 AAAA\n");
    const made = new Terminals({
      home: join(folder, "home"),
      env: { PATH: join(folder, "bin") },
      ask: (async (name: string, input: unknown) => {
        calls.push({ name, input });
        return machine;
      }) as TerminalSurroundings["ask"],
      spawn: async (program, args) => {
        spawned.push([program, ...args]);
        return silentPty();
      },
      ...part,
    });
    return { made, calls, spawned, folder };
  }
  const request = { id: "00000000-0000-4000-8000-000000000001", user: "root", columns: 80, rows: 24 };

  it("makes the forward that is missing, on a port of this computer alone that is free", async () => {
    const { made, calls, spawned, folder } = terminals();
    (await made.open(request)).destroy();
    const { forward } = calls.find(({ name }) => name === "forward.add")!.input as { forward: PortForward };
    expect(forward).toMatchObject({ protocol: "tcp", hostAddress: "127.0.0.1", guestPort: 22 });
    expect(spawned[0]).toEqual(expect.arrayContaining([join(folder, "bin", "ssh"), String(forward.hostPort), "root"]));
    expect(spawned[0]).toEqual(expect.arrayContaining(["StrictHostKeyChecking=yes", `UserKnownHostsFile="${join(folder, "machine", "ssh", "known_hosts")}"`]));
  });

  it("says so when ssh itself has failed, and not when the guest's shell has", async () => {
    const ends: ((end: { exitCode: number }) => void)[] = [];
    const { made } = terminals({ spawn: async () => ({ ...silentPty(), onExit: (listener) => ends.push(listener) }) });
    const failures: unknown[] = [];
    for (const exitCode of [1, 255]) {
      const stream = await made.open(request);
      const over = new Promise<unknown>((resolve) => stream.on("end", () => resolve(undefined)).on("error", resolve).resume());
      ends.at(-1)!({ exitCode });
      failures.push(await over);
    }
    expect(failures).toEqual([undefined, expect.objectContaining({ code: "unavailable", message: "ssh could not reach web, or has lost it." })]);
  });

  it("takes the forward that is there", async () => {
    const { made, calls, spawned } = terminals({}, behindNat({}, { ...nat, forwards: [ssh] }));
    (await made.open(request)).destroy();
    expect(calls.map(({ name }) => name)).toEqual(["machine.get"]);
    expect(spawned[0]).toContain("2222");
  });

  it("gives up, with the reason, when no port can be made to lead there", async () => {
    const ports: number[] = [];
    const removed: unknown[] = [];
    const { made } = terminals({
      ask: (async (name: string, input: { forward: PortForward }) => {
        if (name === "forward.remove") removed.push(input);
        if (name !== "forward.add") return behindNat();
        ports.push(input.forward.hostPort);
        return behindNat({ network: [{ adapter: 0, connected: true, forwards: [{ forward: input.forward, problem: { code: "locked", message: "It is used by nginx." } }] }] });
      }) as unknown as TerminalSurroundings["ask"],
    });
    await expect(made.open(request)).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("used by nginx") as string });
    expect(ports).toHaveLength(3);
    // Nothing is left behind.
    expect(removed).toHaveLength(3);
  });

  it("tries another port when one was taken meanwhile, and says any other refusal at once", async () => {
    let tries = 0;
    const refusing = (code: "locked" | "illegal-state"): Partial<TerminalSurroundings> => ({
      ask: (async (name: string) => {
        if (name === "forward.add" && tries++ === 0) throw new TerrariumError(code, "Not this one.");
        return behindNat();
      }) as unknown as TerminalSurroundings["ask"],
    });
    (await terminals(refusing("locked")).made.open(request)).destroy();
    expect(tries).toBe(2);
    tries = 0;
    await expect(terminals(refusing("illegal-state")).made.open(request)).rejects.toMatchObject({ code: "illegal-state" });
    expect(tries).toBe(1);
  });

  it("says what is missing: ssh, the key, the terminal", async () => {
    await expect(terminals({ env: { PATH: join(tmpdir(), "nowhere") } }).made.open(request)).rejects.toMatchObject({ code: "unavailable", remedy: expect.stringContaining("openssh-client") as string });
    await expect(terminals({ home: join(tmpdir(), "nowhere") }).made.open(request)).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("lets nobody in") as string });
    await expect(terminals({ spawn: () => Promise.reject(new Error("no pty.node")) }).made.open(request)).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("no pty.node") as string, remedy: expect.stringContaining("ssh -p") as string });
  });

  it("keeps the key of a guest that is not ours in the machine's folder", async () => {
    const boot = { kind: "firmware" as const, order: "disk" as const };
    const { made, spawned, folder } = terminals({}, machineWith([nat], { folder: join(temporary.path, "other"), config: { boot } }));
    (await made.open({ ...request, user: "debian" })).destroy();
    expect(spawned[0]).toEqual(expect.arrayContaining(["StrictHostKeyChecking=accept-new", `UserKnownHostsFile="${join(folder, "other", "ssh", "known_hosts")}"`]));
    expect(statSync(join(folder, "other", "ssh")).mode & 0o777).toBe(0o700);
  });

  it("goes to no starter guest whose key nobody knows, and opens no port for it", async () => {
    const { made, calls, spawned } = terminals({}, machineWith([nat], { folder: join(temporary.path, "unknown") }));
    await expect(made.open(request)).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("known_hosts, is missing") as string, remedy: expect.stringContaining("start it again") as string });
    expect([calls.map(({ name }) => name), spawned]).toEqual([["machine.get"], []]);
  });

  it("finds programs on the search path alone", async () => {
    const folder = temporary.path;
    writeFileSync(join(folder, "tool"), "", { mode: 0o755 });
    writeFileSync(join(folder, "text"), "", { mode: 0o644 });
    const env = { PATH: `/nowhere${delimiter}${folder}` };
    expect(await findProgram("tool", env)).toBe(join(folder, "tool"));
    expect(await findProgram("text", env)).toBeUndefined();
    expect(await findProgram("tool", {})).toBeUndefined();
  });
});

function silentPty(): Pty {
  return { onData: () => undefined, onExit: () => undefined, write: () => undefined, resize: () => undefined, pause: () => undefined, resume: () => undefined, kill: () => undefined };
}

describe("a pseudoterminal as a stream", () => {
  const real = async (program: string, args: string[]): Promise<PtyStream> => new PtyStream(await spawnPty(program, args, { columns: 80, rows: 24, cwd: tmpdir(), env: { PATH: process.env.PATH ?? "", TERM: "xterm" } }));
  const heard = (stream: PtyStream): { text: string; ended: boolean } => {
    const all = { text: "", ended: false };
    stream.on("data", (chunk: Buffer) => (all.text += chunk.toString()));
    stream.on("end", () => (all.ended = true));
    return all;
  };

  it("carries a program's words both ways, its size, and its end", async () => {
    const stream = await real("/bin/sh", ["-c", "read word; echo got $word; read size; stty size; exit 3"]);
    const all = heard(stream);
    stream.write("apples\n");
    await until(() => all.text.includes("got apples"));
    stream.setSize(132, 43);
    stream.write("\n");
    await until(() => all.ended);
    expect(all.text).toContain("43 132");
    // What comes after the end goes nowhere and harms nobody.
    stream.setSize(10, 10);
    stream.destroy();
  });

  it("fails, when its program did, after what that has said", async () => {
    const pty = await spawnPty("/bin/sh", ["-c", "echo no route; exit 255"], { columns: 80, rows: 24, cwd: tmpdir(), env: { PATH: process.env.PATH ?? "", TERM: "xterm" } });
    const stream = new PtyStream(pty, (exitCode) => (exitCode === 255 ? new Error("it failed") : undefined));
    const order: string[] = [];
    // Nobody reads until the program has ended: what it said waits.
    await new Promise<void>((resolve) => pty.onExit(() => resolve()));
    const closed = new Promise<void>((resolve) => stream.on("close", resolve));
    stream.on("data", (chunk: Buffer) => order.push(chunk.toString().trim()));
    stream.on("error", (error) => order.push(error.message));
    stream.on("end", () => order.push("end"));
    await closed;
    expect(order).toEqual(["no route", "it failed"]);
  });

  it("hangs up on the program when it is destroyed", async () => {
    const stream = await real("/bin/sh", ["-c", "echo pid $$; exec sleep 1000"]);
    const all = heard(stream);
    await until(() => /pid \d+\r\n/.test(all.text));
    const pid = Number(/pid (\d+)/.exec(all.text)![1]);
    stream.destroy();
    await until(() => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true; // It is gone.
      }
    });
  });

  it("holds back a program whose words nobody reads", async () => {
    let paused = 0;
    let say: (data: string) => void = () => undefined;
    const stream = new PtyStream({ ...silentPty(), onData: (listener) => (say = listener), pause: () => paused++ });
    for (let round = 0; round < 80; round++) say("x".repeat(1024));
    expect(paused).toBeGreaterThan(0);
    stream.destroy();
  });
});
