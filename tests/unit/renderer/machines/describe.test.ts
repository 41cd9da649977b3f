import { describe, expect, it } from "vitest";
import type { MachineConfig } from "../../../../core/contract/model";
import { fileName, guestName, loginText, rowNote, systemText } from "../../../../renderer/features/machines/describe";
import { fakeMachine, fakeSystems } from "../../../support/fakeDesktop";

describe("a machine's row", () => {
  const now = Date.now();

  it("shows the address of a running guest, and says when there is none", () => {
    expect(rowNote(fakeMachine("a", { state: "running", guest: { agent: "answering", addresses: [{ adapter: 1, address: "10.0.2.15" }] } }), now)).toEqual({ text: "10.0.2.15", address: true });
    expect(rowNote(fakeMachine("a", { state: "running" }), now)).toEqual({ text: "running", address: false });
    expect(rowNote(fakeMachine("a", { state: "running", unresponsive: true }), now).text).toBe("not responding");
  });

  it("gives the reason of a pause and of a crash", () => {
    expect(rowNote(fakeMachine("a", { state: "paused", pauseReason: "disk-full" }), now).text).toBe("paused: the host's disk is full");
    expect(rowNote(fakeMachine("a", { state: "crashed", problem: { code: "engine-failed", message: "The emulator stopped." } }), now).text).toBe("The emulator stopped.");
  });

  it("tells since when it is off or saved", () => {
    expect(rowNote(fakeMachine("a", { state: "saved", since: now - 120_000 }), now).text).toBe("saved 2 min ago");
    expect(rowNote(fakeMachine("a", { state: "off", since: now - 1_000 }), now).text).toBe("off, just now");
  });
});

describe("facts of a machine", () => {
  it("names the guest by what the agent says, else by what it boots", () => {
    expect(guestName(fakeMachine("a", { guest: { agent: "answering", os: "Debian 12", addresses: [] } }))).toBe("Debian 12");
    expect(guestName(fakeMachine("a", { config: { boot: { kind: "kernel", kernel: "/boot/vmlinuz-6.1", cmdline: "" } } }))).toBe("Linux kernel vmlinuz-6.1");
    expect(guestName({ ...fakeMachine("a"), config: undefined })).toBe("unknown");
  });

  it("names the system as the table does, and by its id when the table does not know it", () => {
    expect(systemText(fakeMachine("a", { config: { system: "debian-12-i386" } }).config!, fakeSystems)).toBe("Debian 12 (32-bit)");
    expect(systemText(fakeMachine("a", { config: { system: "plan-9" } }).config!, fakeSystems)).toBe("plan-9");
    expect(systemText(fakeMachine("a").config!, fakeSystems)).toBeUndefined();
  });

  it("tells how to log in first, where Terrarium has to do with it", () => {
    const boot = { kind: "firmware", order: "disk" } as const;
    const of = (config: Partial<MachineConfig>) => loginText(fakeMachine("a", { config }).config!);
    expect(of({})).toBe("root, without a password; by SSH with Terrarium’s own key");
    expect(of({ boot, seed: "seed/seed.iso", login: { user: "ada" } })).toBe("ada, with the password or key given for it");
    // Made before the user's name was kept.
    expect(of({ boot, seed: "seed/seed.iso" })).toBe("as set up with cloud-init");
    expect(of({ boot })).toBeUndefined();
  });

  it("takes the last part of a path of either kind", () => {
    expect(fileName("/a/b.iso")).toBe("b.iso");
    expect(fileName("C:\\a\\b.iso")).toBe("b.iso");
  });
});
