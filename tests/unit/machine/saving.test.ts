import { describe, expect, it } from "vitest";
import { TerrariumError } from "../../../core/contract/errors";
import { machineSockets, type LaunchContext } from "../../../core/engine/engine";
import { qemuArgv } from "../../../core/engine/qemuArgv";
import type { Blueprint } from "../../../core/machine/blueprint";
import { requireRestorable } from "../../../core/machine/saving";
import { makeConfig } from "../../support/machineConfig";

/** What is asked of a machine's blueprint, with a plan as QEMU's. */
function blueprint(plan: () => unknown): Blueprint {
  const config = makeConfig({ name: "web" });
  return { name: config.name, usable: () => ({ config, engine: {} }), plan } as unknown as Blueprint;
}

describe("a machine that is to be saved", () => {
  it("is refused, with what to do, when it runs with what no start would be given any more", () => {
    const config = makeConfig({ engine: "qemu", hardware: { extraArguments: ["-snapshot"] } });
    const qemu = { machineTypes: { q35: "pc-q35-7.2", pc: "pc-i440fx-7.2" }, accelerator: { id: "tcg", argument: "tcg", cpuModel: "max" }, sandbox: false, firmware: undefined };
    const context: LaunchContext = { folder: "/m", sockets: machineSockets("/r"), serialLog: "/m/serial0.log", dumpDir: "/m", guest: {}, links: [], incoming: false };
    const refusal = (): TerrariumError => {
      try {
        requireRestorable(blueprint(() => qemuArgv({ ...config, boot: { kind: "firmware", order: "disk" } }, context, qemu)));
      } catch (error) {
        if (error instanceof TerrariumError) return error;
        throw error;
      }
      throw new Error("nothing was refused");
    };
    const { code, message, remedy } = refusal();
    expect(code).toBe("invalid-input");
    expect(message).toContain("web cannot be saved, because it could not be started again from there. The extra argument -snapshot is refused");
    expect(remedy).toBe("Shut it down instead. For the next start: Take it out of the machine's extra arguments.");
  });

  it("is let through when a start would be given what it runs with, and a fault of ours is not dressed up", () => {
    expect(() => requireRestorable(blueprint(() => ({})))).not.toThrow();
    const fault = new TypeError("x");
    expect(() => requireRestorable(blueprint(() => { throw fault; }))).toThrow(fault);
  });
});
