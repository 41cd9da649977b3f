import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLog } from "../../core/base/log";
import { prepareDefaultState } from "../../core/machine/index";
import { realRuntime, TestHost } from "../support/host";

/** What is rare shows in many rounds: a lost write, a state that does not come back, a start that does not end. */
const rounds = 25;

describe("a machine in daily use", () => {
  let test: TestHost;
  beforeAll(async () => {
    await prepareDefaultState(realRuntime, silentLog);
    test = await TestHost.open();
  });
  afterAll(() => test.dispose());

  it(`loses nothing in ${rounds} rounds of saving, ending the host service, shutting down and pulling the plug`, async () => {
    const { id } = await test.create("daily");
    const written: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await test.start(id);
      await test.untilAnswering(id);
      expect(await test.shell(id, "cat /data/rounds 2>/dev/null || true")).toBe(written.join("\n"));
      written.push(round);
      await test.shell(id, `echo ${round} >> /data/rounds; sync; echo ${round} > /tmp/memory`);
      // In memory until here: what was saved has to be there again.
      await test.succeed((await test.host.call("machine.save", { id })).job);
      if (round % 2 === 1) {
        await test.close();
        await test.reopen();
      }
      await test.start(id);
      await test.untilAnswering(id);
      expect(await test.shell(id, "cat /tmp/memory")).toBe(String(round));
      if (round % 3 === 2) await test.host.call("machine.powerOff", { id });
      else await test.succeed((await test.host.call("machine.shutdown", { id })).job);
      expect((await test.get(id)).state).toBe("off");
    }
  });
});
