import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLog } from "../../core/base/log";
import { prepareDefaultState } from "../../core/machine/index";
import { connectHost, type HostConnection } from "../../core/server/client";
import { HeldDownload } from "../support/heldDownload";
import { realRuntime, TestHost } from "../support/host";

describe.each([
  { engine: "v86" as const, from: "pre-booted" },
  { engine: "qemu" as const, from: "cold" },
])("a host service that is killed, with a guest on $engine", ({ engine, from }) => {
  let test: TestHost;
  let child: ChildProcess | undefined;
  beforeAll(async () => {
    await prepareDefaultState(realRuntime, silentLog);
    test = await TestHost.open();
  }, 900_000);
  afterAll(async () => {
    child?.kill("SIGKILL");
    await test.dispose();
  });

  /** A host service in a process of its own, on the test's home. */
  async function serve(): Promise<HostConnection> {
    child = spawn(realRuntime.node, [realRuntime.cli, "serve"], { env: { ...process.env, TERRARIUM_HOME: test.home }, stdio: ["ignore", "ignore", "pipe"] });
    for await (const text of child.stderr ?? []) if (String(text).includes("Serving")) break;
    const connection = await connectHost(test.home);
    if (!connection) throw new Error("the host service does not listen");
    return connection;
  }

  /** A boot from the beginning goes on after the start. */
  const untilAnswering = async (remote: HostConnection, id: string): Promise<void> => {
    let heard: () => void = () => undefined;
    const subscription = remote.onDidChange(() => heard());
    for (;;) {
      const next = new Promise<void>((resolve) => (heard = resolve));
      const { guest } = await remote.call("machine.get", { id });
      if (guest.agent === "answering") break;
      await next;
    }
    subscription.dispose();
  };

  it("leaves its guests running and a download through NAT going on, and the next one finds everything there", async ({ onTestFinished }) => {
    const download = await HeldDownload.open();
    onTestFinished(() => download.close());
    const { id } = await test.create("survivor", { engine, adapters: [{ attachment: { mode: "nat" } }] });
    await test.host.call("adapter.set", { id, adapter: 0, nat: { hostLoopback: true, hostNetworks: true } });
    await test.close();
    const remote = await serve();
    const { job } = await remote.call("machine.start", { id });
    expect(await remote.call("job.wait", { id: job.id })).toMatchObject({ state: "done" });
    await untilAnswering(remote, id);
    const mark = await remote.call("machine.exec", { id, command: "/bin/sh", args: ["-c", "echo in-memory > /tmp/mark; echo on-disk > /data/mark; echo said-before > /dev/ttyS0; (while :; do date +%s > /tmp/beat.new; mv /tmp/beat.new /tmp/beat; usleep 200000; done) >/dev/null 2>&1 & cat /proc/sys/kernel/random/boot_id"] });
    expect(mark.exitCode).toBe(0);
    const wget = `until ip route | grep -q default; do usleep 50000; done; wget -q -O /tmp/file http://10.0.2.2:${download.port}/file; sha256sum /tmp/file > /tmp/sum.new; mv /tmp/sum.new /tmp/sum`;
    expect((await remote.call("machine.exec", { id, command: "/bin/sh", args: ["-c", `(${wget}) >/dev/null 2>&1 &`] })).exitCode).toBe(0);
    await download.isHalfway;
    const gone = once(child as ChildProcess, "exit");
    child?.kill("SIGKILL");
    await gone;
    remote.close();
    // Nobody is there but the fabric and the guest's machine.
    download.release();
    await download.isOver;

    await test.reopen();
    expect(await test.get(id)).toMatchObject({ state: "running", startedFrom: from });
    await test.untilAnswering(id);
    await test.until(id, ({ network }) => network?.[0]?.connected === true && network[0].address === "10.0.2.15");
    expect(await test.shell(id, "until cut -d ' ' -f 1 /tmp/sum; do usleep 50000; done 2>/dev/null")).toBe(download.sha256);
    expect(await test.shell(id, "cat /proc/sys/kernel/random/boot_id /tmp/mark /data/mark")).toBe(`${mark.stdout.trim()}\nin-memory\non-disk`);
    const beat = Number(await test.shell(id, "cat /tmp/beat")) * 1000;
    expect(Math.abs(Date.now() - beat)).toBeLessThan(60_000);

    const serial = await test.host.openStream({ stream: "serial", id });
    await new Promise<void>((resolve) => {
      let text = "";
      serial.on("data", (data: Buffer) => {
        text += data.toString();
        if (text.includes("said-before")) resolve();
      });
    });
    serial.destroy();
    const screen = await test.host.call("machine.screenshot", { id });
    expect(screen.live).toBe(true);
    await test.succeed((await test.host.call("machine.shutdown", { id })).job);
    expect(await test.get(id)).toMatchObject({ state: "off" });
  });

  it("leaves a guest that it was just saving, which goes on when the next one comes", async () => {
    const { id } = await test.create("unsaved", { engine });
    await test.close();
    const remote = await serve();
    const { job } = await remote.call("machine.start", { id });
    expect(await remote.call("job.wait", { id: job.id })).toMatchObject({ state: "done" });
    await untilAnswering(remote, id);
    expect((await remote.call("machine.exec", { id, command: "/bin/sh", args: ["-c", "echo in-memory > /tmp/mark"] })).exitCode).toBe(0);
    const gone = once(child as ChildProcess, "exit");
    remote.onDidChange((event) => event.type === "job" && event.job.kind === "save" && event.job.detail === "Writing memory and devices" && child?.kill("SIGKILL"));
    remote.call("machine.save", { id }).catch((error: unknown) => void error); // Its host service dies of it.
    await gone;
    remote.close();

    await test.reopen();
    expect(await test.get(id)).toMatchObject({ state: "running", startedFrom: from });
    await test.untilAnswering(id);
    expect(await test.shell(id, "cat /tmp/mark")).toBe("in-memory");
    await test.host.call("machine.powerOff", { id });
    expect(await test.get(id)).toMatchObject({ state: "off" });
  });
});
