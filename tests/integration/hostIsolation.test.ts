import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLog } from "../../core/base/log";
import { prepareDefaultState } from "../../core/machine/index";
import { realRuntime, TestHost } from "../support/host";

describe("two machines from one pre-booted state", () => {
  let test: TestHost;
  beforeAll(async () => {
    await prepareDefaultState(realRuntime, silentLog);
    test = await TestHost.open();
  }, 900_000);
  afterAll(() => test.dispose());

  it("share nothing, running at once: not name, addresses, ids, random numbers, keys, nor a disk", async () => {
    const machines = [await test.create("one"), await test.create("two")];
    const started = await Promise.all(machines.map(({ id }) => test.start(id)));
    for (const machine of started) expect(machine).toMatchObject({ state: "running", startedFrom: "pre-booted" });
    const script = [
      "hostname",
      "cat /sys/class/net/eth0/address",
      "cat /etc/machine-id",
      "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo",
      "sha256sum < /etc/dropbear/dropbear_ed25519_host_key",
      "echo \"I am $(hostname)\" > /data/who; sync; cat /data/who",
      "cat /proc/sys/kernel/random/uuid",
      // The file system's own id, in its superblock.
      "dd if=/dev/vda bs=1 skip=1128 count=16 2>/dev/null | od -An -tx1",
    ].join("\n");
    const [one, two] = await Promise.all(machines.map(async ({ id }) => (await test.shell(id, script)).split("\n")));
    expect(one).toHaveLength(8);
    expect(two).toHaveLength(8);
    for (const [index, value] of (one ?? []).entries()) {
      expect(value, `line ${index}`).not.toBe("");
      expect(value, `line ${index}`).not.toBe(two?.[index]);
    }
    expect(one?.[0]).toBe("one");
    expect(two?.[5]).toBe("I am two");

    expect(await Promise.all(machines.map(({ id }) => test.shell(id, "cat /root/.ssh/authorized_keys")))).toEqual(Array.from({ length: 2 }, () => expect.stringMatching(/^ssh-ed25519 /) as string));
  });
});
