// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import type { FileInspection, HostInfo } from "../../../../core/contract/model";
import type { ProcedureInput } from "../../../../core/contract/procedures";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import { Wizard } from "../../../../renderer/features/wizard";
import { absentEngine, builtInEngine, FakeDesktop, fakeHost, qemuEngine } from "../../../support/fakeDesktop";

const GiB = 1024 ** 3;
const debianDisc: Partial<FileInspection> = { kind: "iso", format: "iso9660", bootable: true, system: "debian-12-amd64", arch: "x86_64", firmwares: ["bios", "uefi"] };
const cloudImage: Partial<FileInspection> = { kind: "disk", format: "qcow2", virtualBytes: 2 * GiB, system: "debian-12-amd64", arch: "x86_64" };

let root: Root;
let stop: () => void;

afterEach(() => {
  root.unmount();
  stop();
  document.body.replaceChildren();
});

async function open(source: "iso" | "disk", found: Partial<FileInspection>, engines: HostInfo["engines"] = [builtInEngine, qemuEngine]): Promise<FakeDesktop> {
  const desktop = new FakeDesktop({ host: { ...fakeHost, engines } });
  desktop.inspect = (path) => ({ path, kind: "unknown", format: "unknown", sizeBytes: 340 * 1024 ** 2, ...found });
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <Wizard initialSource={source} onClose={() => undefined} />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
  await until(() => expect(desktop.calls.map((entry) => entry.name)).toContain("host.systems"));
  return desktop;
}

async function until<T>(condition: () => T): Promise<T> {
  return vi.waitFor(condition, 10_000);
}

const page = (): string => document.body.textContent ?? "";

function control<T extends HTMLElement = HTMLInputElement>(name: string): T {
  const labelled = [...document.querySelectorAll<HTMLLabelElement>("label")].find((label) => label.textContent === name && label.htmlFor !== "");
  const found = labelled ? document.getElementById(labelled.htmlFor) : document.querySelector(`[aria-label="${name}"]`);
  if (!found) throw new Error(`there is no ${name} in: ${page()}`);
  return found as T;
}

function button(name: string): HTMLButtonElement {
  const found = [...document.querySelectorAll("button")].find((element) => element.textContent === name || element.getAttribute("aria-label") === name);
  if (!found) throw new Error(`there is no button ${name} in: ${page()}`);
  return found;
}

async function type(name: string, text: string): Promise<void> {
  const field = await until(() => control<HTMLInputElement | HTMLTextAreaElement>(name));
  const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  // React listens to its own setter's events only.
  Object.getOwnPropertyDescriptor(kind.prototype, "value")?.set?.call(field, text);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Waits until the way on is open, and takes it. */
async function next(to: string): Promise<void> {
  await until(() => expect(button(`Continue to ${to}`).getAttribute("aria-disabled")).toBeNull());
  button(`Continue to ${to}`).click();
}

const specs = (desktop: FakeDesktop, name: string) => desktop.calls.filter((entry) => entry.name === name).map((entry) => (entry.input as { spec: ProcedureInput<"machine.create">["spec"] }).spec);

describe("the wizard's screens", () => {
  it("say what disc was recognised, and take its system's figures", async () => {
    await open("iso", debianDisc);
    await type("ISO image", "/isos/netinst.iso");
    await until(() => expect(page()).toContain("Debian 12 installation disc, 64-bit, BIOS and UEFI"));
    expect(control("Guest system").value).toBe("Debian 12");
    await next("system");
    await until(() => expect(control("Memory").value).toBe("2048"));
    expect(control("Name").value).toBe("debian-12");
    expect(page()).toContain("QEMU 7.2.18 with KVM will run it, at nearly the speed of this computer.");
  });

  it("let another system be found by typing and chosen by the keyboard", async () => {
    await open("iso", {});
    await type("ISO image", "/isos/what.iso");
    await until(() => expect(page()).toContain("Not recognised"));
    expect(page()).toContain("“Other system, 64-bit”");
    const field = await until(() => control("Guest system"));
    field.focus();
    await type("Guest system", "windows");
    await until(() => expect([...document.querySelectorAll("[role=option]")].map((option) => option.textContent)).toEqual(["Windows 11"]));
    expect(document.querySelector("[role=group][aria-label=Windows]")).not.toBeNull();
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    await until(() => expect(control("Guest system").value).toBe("Windows 11"));
    // The Enter that chose it has not gone on to the next step.
    expect(document.querySelector("h1")?.textContent).toBe("What should it run?");
    expect(page()).toContain("64 GB, grows as needed");
  });

  it("say why it will be slow, and what would make it fast", async () => {
    await open("iso", debianDisc, [builtInEngine, { ...qemuEngine, accelerator: { label: "TCG (software)", fast: false, reason: "There is no /dev/kvm.", remedy: "Switch virtualisation on." } }]);
    await type("ISO image", "/isos/netinst.iso");
    await until(() => expect(page()).toContain("Debian 12 installation disc"));
    await next("system");
    await until(() => expect(page()).toContain("QEMU 7.2.18 with TCG (software) will run it, slowly."));
    expect(page()).toContain("There is no /dev/kvm.Switch virtualisation on.");
  });

  it("offer no engine and no firmware that is not there, and say why", async () => {
    await open("iso", {}, [builtInEngine, absentEngine]);
    await type("ISO image", "/isos/rescue.iso");
    await until(() => expect(page()).toContain("Not recognised"));
    await next("system");
    const qemu = await until(() => control("QEMU"));
    expect(qemu.getAttribute("aria-disabled")).toBe("true");
    expect(page()).toContain("Install it (Debian, Ubuntu: qemu-system-x86)");
    qemu.click();
    control("UEFI").click();
    expect(control("UEFI").getAttribute("aria-disabled")).toBe("true");
    await until(() => expect(control("BIOS").checked).toBe(true));
    expect(control("Automatic").checked).toBe(true);
    expect(page()).toContain("Built-in emulator has no UEFI. QEMU has: QEMU is not installed.");
  });

  it("set up the first login of a cloud image, and keep the way on closed without one", async () => {
    const desktop = await open("disk", cloudImage);
    await type("Disk image", "/images/debian-12-genericcloud-amd64.qcow2");
    await until(() => expect(page()).toContain("Debian 12 disk image, 64-bit"));
    await next("system");
    await until(() => expect(control("User name").value).toBe("debian"));
    expect(button("Continue to disk").getAttribute("aria-disabled")).toBe("true");
    await type("SSH public keys", "nonsense");
    await until(() => expect(page()).toContain("Key 1 is not an SSH public key."));
    await type("SSH public keys", "");
    await type("Password", "s3cret");
    expect(control("Password").type).toBe("password");
    button("Show the password").click();
    await until(() => expect(control("Password").type).toBe("text"));
    const files = control("File of public keys");
    Object.defineProperty(files, "files", { value: [new File(["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ada@garden\n"], "id.pub")] });
    files.dispatchEvent(new Event("change", { bubbles: true }));
    await until(() => expect(control<HTMLTextAreaElement>("SSH public keys").value).toContain("ada@garden"));
    await next("disk");
    await until(() => expect(control("Size of the copy").value).toBe("20"));
    await next("network");
    await next("review");
    await until(() => expect(page()).toContain("debian, by a password and 1 SSH key"));
    await until(() => expect(button("Create and start").getAttribute("aria-disabled")).toBeNull());
    button("Create and start").click();
    await until(() => expect(specs(desktop, "machine.create")).toHaveLength(1));
    expect(specs(desktop, "machine.create")[0]).toMatchObject({
      seed: { user: "debian", password: "s3cret", authorizedKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ada@garden"], hostname: "debian-12" },
      disks: [{ mode: "copy", growTo: 20 * GiB }],
    });
  });

  it("say what becomes of an image of another format", async () => {
    await open("disk", { kind: "disk", format: "vmdk", virtualBytes: 40 * GiB });
    await type("Disk image", "/images/old.vmdk");
    await until(() => expect(page()).toContain("Not recognised"));
    await next("system");
    await next("disk");
    await until(() => expect(page()).toContain("vmdk is converted to qcow2 in the machine’s folder; the original stays as it is."));
    expect(control("Use it where it is").getAttribute("aria-disabled")).toBe("true");
  });

  it("show a warning beside its field, and keep Create closed for an error, with the reason", async () => {
    const desktop = await open("iso", debianDisc);
    desktop.findings = (input) => ("spec" in input && input.spec.memoryMiB > 9000 ? [{ field: "memoryMiB", level: input.spec.memoryMiB > 16_000 ? "error" : "warning", message: "That is much." }] : []);
    await type("ISO image", "/isos/netinst.iso");
    await until(() => expect(page()).toContain("Debian 12 installation disc"));
    await next("system");
    await type("Memory", "10000");
    await until(() => expect(document.getElementById("memory-notes")?.textContent).toContain("That is much."));
    await next("disk");
    await next("network");
    await next("review");
    await until(() => expect(button("Create and start").getAttribute("aria-disabled")).toBeNull());
    [...document.querySelectorAll<HTMLButtonElement>(".step")].find((step) => step.textContent?.includes("System"))?.click();
    await type("Memory", "17000");
    [...document.querySelectorAll<HTMLButtonElement>(".step")].find((step) => step.textContent?.includes("Review"))?.click();
    await until(() => expect(document.querySelector(".problem.error")?.textContent).toContain("That is much."));
    expect(button("Create and start").getAttribute("aria-disabled")).toBe("true");
    expect(specs(desktop, "machine.create")).toEqual([]);
  });
});
