// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { MachineConfig, MachineInfo } from "../../../../core/contract/model";
import { SshCover } from "../../../../renderer/features/console/SshCover";
import { useSsh } from "../../../../renderer/features/console/useSsh";
import { FakeDesktop, fakeMachine } from "../../../support/fakeDesktop";

/** A desktop whose logins succeed: `far` is the guest's end of the last one. */
class DesktopWithSsh extends FakeDesktop {
  works = true;
  far: MessagePort | undefined;

  override async openTerminal(...[request, token]: Parameters<FakeDesktop["openTerminal"]>): ReturnType<FakeDesktop["openTerminal"]> {
    if (!this.works) return super.openTerminal(request, token);
    this.terminals.push(request);
    const { port1, port2 } = new MessageChannel();
    this.far = port2 as unknown as MessagePort;
    window.dispatchEvent(Object.assign(new Event("message"), { data: { terrariumStream: token }, ports: [port1] }));
    return { result: true };
  }
}

const nat = { mac: "52:54:00:00:00:01", attachment: { mode: "nat" as const }, plugged: true };
const id = "00000000-0000-4000-8000-000000000001";
function machine(part: Partial<Omit<MachineInfo, "config">> & { config?: Partial<MachineConfig> } = {}): MachineInfo {
  return fakeMachine("web", { id, state: "running", guest: { agent: "answering", addresses: [] }, ...part, config: { adapters: [nat], ...part.config } });
}

let root: Root;
let desktop: DesktopWithSsh;

beforeEach(() => {
  desktop = new DesktopWithSsh({ machines: [] });
  Object.assign(window, { terrarium: desktop });
  root = createRoot(document.body.appendChild(document.createElement("div")));
});

afterEach(() => {
  root.unmount();
  desktop.far?.close();
  document.body.replaceChildren();
});

function Probe({ of, wanted }: { of: MachineInfo | undefined; wanted: boolean }) {
  const ssh = useSsh(of, wanted);
  return (
    <>
      <output>{`${ssh.state}${ssh.channel ? " with a channel" : ""}`}</output>
      <p>{ssh.note}</p>
      <b>{wanted ? of?.name : "looks away"}</b>
      <SshCover ssh={ssh} />
    </>
  );
}

const show = (of: MachineInfo | undefined, wanted = true): void => root.render(<Probe of={of} wanted={wanted} />);
const until = <T,>(condition: () => T): Promise<T> => vi.waitFor(condition, 10_000);
const state = (): string => document.querySelector("output")?.textContent ?? "";
const page = (): string => document.body.textContent ?? "";
const button = (): HTMLButtonElement => document.querySelector("button")!;
const users = (): string[] => desktop.terminals.map(({ user }) => user);

describe("the ssh terminal", () => {
  it("connects by itself, once, when it is first looked at", async () => {
    show(machine(), false);
    await until(() => expect(state()).toBe("idle"));
    expect(users()).toEqual([]);
    show(machine());
    await until(() => expect(state()).toBe("connected with a channel"));
    show(machine(), false);
    await until(() => expect(page()).toContain("looks away"));
    show(machine({ name: "renamed" }));
    await until(() => expect(page()).toContain("renamed"));
    expect(state()).toBe("connected with a channel");
    expect(desktop.terminals).toEqual([{ id, user: "root", columns: 80, rows: 24 }]);
    expect(document.querySelector("form")).toBeNull();
  });

  it("waits for a starter guest to be up", async () => {
    show(machine({ guest: { agent: "waiting", addresses: [] } }));
    await until(() => expect(page()).toContain("Connects when the guest is up."));
    expect(users()).toEqual([]);
    show(machine());
    await until(() => expect(users()).toEqual(["root"]));
  });

  it("waits for no agent of a guest that is not ours, and asks who logs in where nobody said", async () => {
    const boot = { kind: "firmware" as const, order: "disk" as const };
    show(machine({ guest: { agent: "waiting", addresses: [] }, config: { boot } }));
    await until(() => expect(document.querySelector("input")).not.toBeNull());
    const input = document.querySelector<HTMLInputElement>("input")!;
    await until(() => expect(button().getAttribute("aria-disabled")).toBe("true"));
    const type = (text: string): void => {
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")!.set!.call(input, text);
      input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    type("-oProxyCommand=x");
    await until(() => expect(button().getAttribute("aria-disabled")).toBe("true"));
    document.querySelector("form")!.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
    type(" debian ");
    await until(() => expect(button().getAttribute("aria-disabled")).toBeNull());
    button().click();
    await until(() => expect(users()).toEqual(["debian"]));
  });

  it("logs in as the user of a cloud image without asking", async () => {
    show(machine({ guest: { agent: "waiting", addresses: [] }, config: { boot: { kind: "firmware", order: "disk" }, login: { user: "ada" } } }));
    await until(() => expect(users()).toEqual(["ada"]));
  });

  it("says why there is no way in, offers none, and connects when there is one", async () => {
    const unplugged = { config: { adapters: [{ ...nat, plugged: false }] } };
    show(machine(unplugged));
    await until(() => expect(page()).toMatch(/plug/i));
    expect(button().getAttribute("aria-disabled")).toBe("true");
    button().click();
    expect(users()).toEqual([]);
    show(machine());
    await until(() => expect(state()).toBe("connected with a channel"));
  });

  it("says what failed and what to do, and tries again when told to", async () => {
    desktop.works = false;
    show(machine());
    await until(() => expect(page()).toContain("There is no ssh on this computer."));
    expect(page()).toContain("Install the OpenSSH client.");
    desktop.works = true;
    button().click();
    await until(() => expect(state()).toBe("connected with a channel"));
    expect(page()).not.toContain("There is no ssh");
  });

  it("keeps the words of a login that has ended, says why it failed, and connects again", async () => {
    show(machine());
    await until(() => expect(state()).toBe("connected with a channel"));
    desktop.far!.postMessage({ end: true, error: { code: "unavailable", message: "ssh could not reach web, or has lost it.", remedy: "What it said stands in the terminal." } });
    await until(() => expect(state()).toBe("ended with a channel"));
    expect(page()).toContain("The connection has ended.");
    expect(page()).toContain("ssh could not reach web, or has lost it.");
    expect(button().textContent).toBe("Connect again");
    button().click();
    await until(() => expect(state()).toBe("connected with a channel"));
    expect(users()).toEqual(["root", "root"]);
  });

  it("ends with the machine, and says so instead of offering what cannot be", async () => {
    show(machine());
    await until(() => expect(state()).toBe("connected with a channel"));
    const told: unknown[] = [];
    desktop.far!.onmessage = ({ data }) => told.push(data);
    show(machine({ state: "off" }));
    await until(() => expect(state()).toBe("ended with a channel"));
    await until(() => expect(told).toEqual([{ end: true }]));
    expect(page()).toContain("web is not running.");
    expect(button().getAttribute("aria-disabled")).toBe("true");
  });

  it("hangs up when its window closes", async () => {
    show(machine());
    await until(() => expect(state()).toBe("connected with a channel"));
    const told: unknown[] = [];
    desktop.far!.onmessage = ({ data }) => told.push(data);
    show(undefined);
    root.render(null);
    await until(() => expect(told).toEqual([{ end: true }]));
  });
});
