import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLog } from "../../core/base/log";
import { prepareDefaultState } from "../../core/machine/index";
import { realRuntime, TestHost } from "../support/host";

/*
 * The life of one machine with the starter guest, the same on both engines. Each test goes on where the one before it left
 * the machine, because a boot is the dearest thing here.
 */
describe.each([
  { engine: "v86" as const, from: "pre-booted" as const },
  { engine: "qemu" as const, from: "cold" as const },
])("a machine with the starter guest on $engine", ({ engine, from }) => {
  let test: TestHost;
  let id = "";

  beforeAll(async () => {
    await prepareDefaultState(realRuntime, silentLog);
    test = await TestHost.open();
    ({ id } = await test.create("Prüfling 1", { engine }));
  }, 900_000);
  afterAll(() => test.dispose());

  /** A start is over when the guest runs; after a boot from the beginning it takes a moment longer to be somebody. */
  const start = async () => {
    await test.start(id);
    return test.untilAnswering(id);
  };
  const job = async (name: "machine.save" | "machine.shutdown") => test.succeed((await test.host.call(name, { id })).job);

  it("starts as somebody of its own, with its disk at /data", async () => {
    const started = await start();
    expect(started).toMatchObject({ state: "running", startedFrom: from, guest: { agent: "answering", hostname: "prufling-1" } });
    const mac = started.config?.adapters[0]?.mac ?? "";
    const facts = await test.shell(id, "hostname; cat /sys/class/net/eth0/address; cat /etc/machine-id; stat -c %s /root/.ssh/authorized_keys; mount | grep ' /data '");
    const [hostname, address, machineId, keyBytes, mounted] = facts.split("\n");
    expect([hostname, address]).toEqual(["prufling-1", mac]);
    expect(machineId).toMatch(/^[0-9a-f]{32}$/);
    expect(Number(keyBytes)).toBeGreaterThan(80);
    expect(mounted).toContain("ext4");
    const clock = Number(await test.shell(id, "date +%s")) * 1000;
    expect(Math.abs(clock - Date.now())).toBeLessThan(60_000);
  });

  it("answers commands as the contract says: output, exit code, input, what is not there", async () => {
    const exec = (command: string, args: string[], input?: string) => test.host.call("machine.exec", { id, command, args, ...(input === undefined ? {} : { input }) });
    expect(await exec("/bin/sh", ["-c", "cat; echo oops >&2; exit 3"], "grüße\n")).toEqual({ exitCode: 3, signal: null, stdout: "grüße\n", stderr: "oops\n", truncated: false });
    await expect(exec("/bin/nothing", [])).rejects.toMatchObject({ code: "invalid-input" });
  });

  it("keeps a file in /data over saving and restoring, and its memory too", async () => {
    await test.shell(id, "echo kept > /data/file; echo remembered > /tmp/memory; sync");
    await job("machine.save");
    expect(await test.get(id)).toMatchObject({ state: "saved" });
    const picture = await test.host.call("machine.screenshot", { id });
    expect(Buffer.from(picture.png ?? "", "base64").subarray(1, 4).toString()).toBe("PNG");
    expect(await start()).toMatchObject({ state: "running", startedFrom: "saved" });
    expect(await test.shell(id, "cat /data/file /tmp/memory; hostname")).toBe("kept\nremembered\nprufling-1");
  });

  it("is paused, takes no commands then, and goes on with its memory", async () => {
    const boot = (): Promise<string> => test.shell(id, "cat /proc/sys/kernel/random/boot_id");
    const before = await boot();
    await test.host.call("machine.pause", { id });
    expect(await test.get(id)).toMatchObject({ state: "paused", pauseReason: "user" });
    await expect(test.shell(id, "true")).rejects.toMatchObject({ code: "illegal-state" });
    await test.host.call("machine.resume", { id });
    expect(await boot()).toBe(before);
  });

  it("shuts down cleanly by its agent, and finds its file after the next start", async () => {
    await job("machine.shutdown");
    const off = await test.get(id);
    expect(off).toMatchObject({ state: "off" });
    expect(off.problem).toBeUndefined();
    expect(await start()).toMatchObject({ startedFrom: from });
    expect(await test.shell(id, "cat /data/file; ls /tmp/memory 2>&1 | grep -c such")).toBe("kept\n1");
  });

  it("takes typed text, and shows it on its screen", async () => {
    const before = await test.host.call("machine.screenshot", { id });
    await test.host.call("machine.typeText", { id, text: "echo typed > /tmp/typed\n" });
    await test.shell(id, "while [ ! -s /tmp/typed ]; do usleep 100000; done");
    expect(await test.shell(id, "cat /tmp/typed")).toBe("typed");
    // A picture may be a second old; the next one shows what was typed.
    let after = before;
    while (after.revision === before.revision) after = await test.host.call("machine.screenshot", { id });
    expect(after.live).toBe(true);
  });

  it("shows its serial terminal to several viewers at once", async () => {
    const viewers = await Promise.all([test.host.openStream({ stream: "serial", id }), test.host.openStream({ stream: "serial", id })]);
    const seen = viewers.map(
      (viewer) =>
        new Promise<string>((resolve) => {
          let text = "";
          viewer.on("data", (data: Buffer) => {
            text += data.toString();
            if (/answer-42/.test(text)) resolve(text);
          });
        }),
    );
    viewers[0]?.write("echo answer-$((6*7))\r");
    const texts = await Promise.all(seen);
    expect(texts[1]).toContain("answer-42");
    for (const viewer of viewers) viewer.destroy();
  });

  it("has crashed when its process is killed, keeps what it had written, and starts again", async () => {
    await test.shell(id, "echo safe > /data/second; sync");
    const { folder } = await test.get(id);
    const { pid } = JSON.parse(await readFile(join(folder, "run.json"), "utf8")) as { pid: number };
    process.kill(pid, "SIGKILL");
    const crashed = await test.until(id, (machine) => machine.state === "crashed");
    expect(crashed.problem).toMatchObject({ code: "engine-failed", message: expect.stringContaining("SIGKILL") as string });
    expect(await start()).toMatchObject({ state: "running" });
    expect(await test.shell(id, "cat /data/file /data/second")).toBe("kept\nsafe");
  });

  it("boots again after a reset, and is who it was", async () => {
    await test.host.call("machine.reset", { id });
    await test.until(id, (machine) => machine.guest.agent === "waiting");
    await test.untilAnswering(id);
    expect(await test.shell(id, "hostname; cat /data/file")).toBe("prufling-1\nkept");
  }, 900_000);

  it("powers itself off when its power button is pressed", async () => {
    // Without its agent only the button is left.
    await test.shell(id, "agent=$PPID; (sleep 1; kill -STOP $agent) >/dev/null 2>&1 &");
    await test.until(id, (machine) => machine.guest.agent === "silent");
    await job("machine.shutdown");
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect((await test.host.call("machine.log", { id, log: "events" })).text).toContain("pressed the power button");
  }, 300_000);
});
