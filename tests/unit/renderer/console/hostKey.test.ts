import { describe, expect, it } from "vitest";
import { HostKey, hostKeyLabel } from "../../../../renderer/features/console/hostKey";

describe("the host key", () => {
  it("releases the keyboard when it is pressed alone", () => {
    const host = new HostKey("ControlRight");
    expect(host.keyDown("ControlRight")).toEqual({ handled: true });
    expect(host.keyUp("ControlRight")).toEqual({ handled: true, action: "release" });
  });

  it("runs a command with another key and then does not release", () => {
    const host = new HostKey("ControlRight");
    host.keyDown("ControlRight");
    expect(host.keyDown("KeyF")).toEqual({ handled: true, action: "fullscreen" });
    expect(host.keyUp("KeyF")).toEqual({ handled: false });
    expect(host.keyUp("ControlRight")).toEqual({ handled: true });
  });

  it("keeps keys without a command from the guest while it is held", () => {
    const host = new HostKey("ControlRight");
    host.keyDown("ControlRight");
    expect(host.keyDown("KeyQ")).toEqual({ handled: true });
    expect(host.keyUp("ControlRight")).toEqual({ handled: true });
  });

  it("leaves all other keys to the guest", () => {
    const host = new HostKey("ControlRight");
    expect(host.keyDown("KeyF")).toEqual({ handled: false });
    expect(host.keyDown("ControlLeft")).toEqual({ handled: false });
    expect(host.keyUp("KeyF")).toEqual({ handled: false });
  });

  it("passes on the release of a key that was pressed before it, so that no key hangs in the guest", () => {
    const host = new HostKey("ControlRight");
    host.keyDown("KeyA");
    host.keyDown("ControlRight");
    expect(host.keyUp("KeyA")).toEqual({ handled: false });
  });

  it("forgets that it is held when the window loses the keyboard", () => {
    const host = new HostKey("ControlRight");
    host.keyDown("ControlRight");
    host.reset();
    expect(host.keyDown("KeyF")).toEqual({ handled: false });
  });

  it("repeats while held without releasing early", () => {
    const host = new HostKey("ControlRight");
    host.keyDown("ControlRight");
    host.keyDown("ControlRight");
    expect(host.keyUp("ControlRight")).toEqual({ handled: true, action: "release" });
  });

  it("is called as it is printed on the key", () => {
    expect(hostKeyLabel("ControlRight")).toBe("Right Ctrl");
    expect(hostKeyLabel("KeyA")).toBe("A");
    expect(hostKeyLabel("F12")).toBe("F12");
  });
});
