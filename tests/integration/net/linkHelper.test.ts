import { spawn, type ChildProcess } from "node:child_process";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { PortableDescriptorWatcher } from "../../../core/net/link/descriptorWatcher";
import { DescriptorMessages } from "../../../core/net/link/descriptorMessages";
import { loadKernelCalls } from "../../../core/net/link/kernelCalls";
import { LinkHelper } from "../../../core/net/link/linkHelper";
import { LinkAnswer } from "../../../core/net/link/linkRequests";
import { helperBundle } from "../../support/links";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const kernel = loadKernelCalls();
const seqpacket = 5 | 0o2000000;

/** The helper, spoken to without the fabric's side of the conversation. Nothing in here makes it open anything. */
describe("the privileged helper", () => {
  let child: ChildProcess;
  let ended: Promise<number | null>;
  let ours: number;
  let messages: DescriptorMessages;

  beforeEach(() => {
    const memory = kernel.memory(8);
    expect(kernel.socketpair(1, seqpacket, 0, memory.address)).toBe(0);
    ours = memory.view.getInt32(0, true);
    const theirs = memory.view.getInt32(4, true);
    // Groups that it is to give up.
    child = spawn("setpriv", ["--groups=1,2", process.execPath, helperBundle], { stdio: [theirs, "ignore", "inherit"], cwd: "/" });
    kernel.close(theirs);
    ended = new Promise((resolve) => child.once("exit", resolve));
    messages = new DescriptorMessages(kernel, ours, 8192, true);
  });

  afterEach(() => {
    child.kill("SIGKILL");
  });

  const ask = (text: string): LinkAnswer => {
    expect(messages.send(text)).toBeGreaterThan(0);
    const answer = messages.receive();
    if (typeof answer !== "object") throw new Error(`no answer: ${answer}`);
    expect(answer.descriptor).toBeUndefined();
    return LinkAnswer.parse(JSON.parse(answer.text));
  };
  const tap = (more: object): string => JSON.stringify({ do: "tap", name: "tt-x-0000", mac: "0a:00:00:00:00:01", mtu: 1500, ...more });

  it.each([
    ["what is not JSON", "tap please"],
    ["what it has no word for", JSON.stringify({ do: "run", program: "/bin/sh" })],
    ["an interface of somebody else's name", tap({ name: "eth0" })],
    ["a name with a path in it", tap({ name: "tt-../../x" })],
    ["a name longer than the kernel takes", tap({ name: "tt-0123456789abc" })],
    ["a MAC address of a group", tap({ mac: "01:00:00:00:00:01" })],
    ["an address that is none", tap({ address: { address: "256.1.1.1", prefix: 24 } })],
    ["a prefix that takes everything", tap({ address: { address: "10.0.0.1", prefix: 0 } })],
    ["settings it does not know", tap({ script: "/tmp/up.sh" })],
    ["a bridge's name with a slash", tap({ bridge: "a/b" })],
    ["a card's name with a blank", JSON.stringify({ do: "card", name: "eth0 up" })],
    ["a route on an interface of somebody else", JSON.stringify({ do: "route", tap: "eth0", address: "192.0.2.1", source: "192.0.2.2", there: true })],
  ])("refuses %s, and goes on", (_what, text) => {
    expect(ask(text)).toMatchObject({ done: false, step: "read a request" });
    expect(ask(JSON.stringify({ do: "card", name: "no-such-card" }))).toMatchObject({ done: false, reason: "ENODEV" });
  });

  it("refuses a request that is too long", () => {
    expect(ask(JSON.stringify({ do: "card", name: "x".repeat(5000) }))).toMatchObject({ done: false, reason: "it is too long" });
  });

  it("opens nothing that carries no Ethernet", () => {
    expect(ask(JSON.stringify({ do: "card", name: "lo" }))).toEqual({ done: false, step: "use lo, which carries no Ethernet", reason: "EOPNOTSUPP" });
  });

  it("leads nothing to an interface that is not there", () => {
    expect(ask(JSON.stringify({ do: "route", tap: "tt-none-0000", address: "192.0.2.1", source: "192.0.2.2", there: true }))).toMatchObject({ done: false, reason: "ENODEV" });
  });

  it("is nobody, with two rights and never another", async () => {
    expect(ask(JSON.stringify({ do: "card", name: "no-such-card" })).done).toBe(false);
    const tasks = await readdir(`/proc/${child.pid}/task`);
    expect(tasks.length).toBeGreaterThan(1);
    for (const task of tasks) {
      const status = await readFile(`/proc/${child.pid}/task/${task}/status`, "utf8");
      expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
      expect(status).toMatch(/^Gid:\t65534\t65534\t65534\t65534$/m);
      expect(status).toMatch(/^Groups:\t *$/m);
      // CAP_NET_ADMIN and CAP_NET_RAW in the thread that works, nothing in the runtime's others.
      expect(status).toMatch(Number(task) === child.pid ? /^CapPrm:\t0000000000003000$/m : /^CapPrm:\t0000000000000000$/m);
      expect(status).toMatch(/^CapInh:\t0000000000000000$/m);
    }
    expect(await readFile(`/proc/${child.pid}/status`, "utf8")).toMatch(/^NoNewPrivs:\t1$/m);
  });

  it("ends with its socket", async () => {
    expect(ask(JSON.stringify({ do: "card", name: "no-such-card" })).done).toBe(false);
    kernel.close(ours);
    expect(await ended).toBe(0);
  });
});

describe("asking for the privileged helper", () => {
  const folder = useTemporaryFolder();
  let watcher: PortableDescriptorWatcher;
  let helper: LinkHelper | undefined;

  beforeEach(() => {
    watcher = new PortableDescriptorWatcher(kernel, silentLog);
  });

  afterEach(() => {
    helper?.dispose();
    helper = undefined;
    watcher.dispose();
  });

  /** Puts a program in pkexec's place. */
  async function pkexec(script: string): Promise<void> {
    await writeFile(join(folder.path, "pkexec"), `#!/bin/bash\n${script}\n`);
    await chmod(join(folder.path, "pkexec"), 0o755);
  }
  const ask = (isRoot: boolean, env: Record<string, string> = {}): LinkHelper =>
    (helper = new LinkHelper({ node: process.execPath, env, script: helperBundle }, { kernel, watcher, clock: systemClock(), isRoot, path: `relative:${folder.path}` }));

  it("starts it directly as root", async () => {
    await expect(ask(true).request({ do: "card", name: "no-such-card" })).rejects.toMatchObject({ code: "not-found", message: expect.stringContaining("no such interface") as string });
  });

  it("starts it by pkexec else, which leaves it an empty environment and no descriptor but its standard ones", async () => {
    // As the real one does: options first, the environment emptied, everything above standard error closed.
    await pkexec(`[ "$1" = --disable-internal-agent ] || exit 3; shift; for fd in /proc/self/fd/*; do n=\${fd##*/}; [ "$n" -gt 2 ] && eval "exec $n>&-"; done; exec env -i PATH=/usr/bin:/bin "$@"`);
    const link = ask(false, { ELECTRON_RUN_AS_NODE: "1" });
    await expect(link.request({ do: "card", name: "no-such-card" })).rejects.toMatchObject({ code: "not-found" });
    expect((await readFile(`/proc/${link.pid}/environ`, "utf8")).split("\0").sort()).toEqual(["", "ELECTRON_RUN_AS_NODE=1", "PATH=/usr/bin:/bin"]);
  });

  it("says what to do where pkexec is missing", async () => {
    await expect(ask(false).request({ do: "card", name: "eth0" })).rejects.toMatchObject({ code: "unavailable", remedy: expect.stringContaining("Install pkexec") as string });
  });

  it("says that the right was not given, and asks again only when told to", async () => {
    await pkexec(`echo asked >> "${folder.path}/asked"; exit 126`);
    const link = ask(false);
    for (let round = 0; round < 2; round++) {
      await expect(link.request({ do: "card", name: "eth0" })).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("was not given") as string });
    }
    expect(await readFile(join(folder.path, "asked"), "utf8")).toBe("asked\n");
    link.forgetRefusal();
    await expect(link.request({ do: "card", name: "eth0" })).rejects.toMatchObject({ code: "unavailable" });
    expect(await readFile(join(folder.path, "asked"), "utf8")).toBe("asked\nasked\n");
  });

  it("repeats what pkexec says where nobody can be asked", async () => {
    await pkexec(`echo "Error executing command as another user: Not authorized" >&2; exit 127`);
    await expect(ask(false).request({ do: "card", name: "eth0" })).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("Not authorized") as string });
  });

  it("takes the question back when the network is closed", async () => {
    await pkexec(`echo $$ > "${folder.path}/pid"; exec sleep 1000`);
    const link = ask(false);
    const asked = link.request({ do: "card", name: "eth0" });
    const { pid } = link;
    link.dispose();
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
    await expect.poll(() => running(pid ?? 0)).toBe(false);
  });

  it("is started anew after it died", async () => {
    const link = ask(true);
    await expect(link.request({ do: "card", name: "no-such-card" })).rejects.toMatchObject({ code: "not-found" });
    const { pid = 0 } = link;
    process.kill(pid, "SIGKILL");
    await expect.poll(() => link.pid).toBeUndefined();
    await expect(link.requestIfRunning({ do: "card", name: "no-such-card" })).rejects.toMatchObject({ code: "unavailable" });
    await expect(link.request({ do: "card", name: "no-such-card" })).rejects.toMatchObject({ code: "not-found" });
  });
});

function running(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}
