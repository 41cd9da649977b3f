// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import { Wizard } from "../../../../renderer/features/wizard";
import { ConfirmHost } from "../../../../renderer/ui/confirm";
import { FakeDesktop } from "../../../support/fakeDesktop";

let root: Root;
let stop: () => void;
let closed: (string | undefined)[];

beforeEach(async () => {
  Object.assign(window, { terrarium: new FakeDesktop() });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  closed = [];
  root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <Wizard onClose={(created) => closed.push(created)} />
        <ConfirmHost />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
  await until(() => button("Cancel"));
});

afterEach(() => {
  root.unmount();
  stop();
  document.body.replaceChildren();
});

async function until<T>(condition: () => T): Promise<T> {
  return vi.waitFor(condition, 10_000);
}

function button(name: string, within: ParentNode = document): HTMLElement {
  const found = [...within.querySelectorAll<HTMLElement>("button")].find((element) => element.textContent === name);
  if (!found) throw new Error(`there is no button ${name} in: ${document.body.textContent}`);
  return found;
}

function wizard(): Element {
  const found = document.querySelector(".wizard");
  if (!found) throw new Error("the wizard is gone");
  return found;
}

const dialog = (): HTMLElement | null => document.querySelector("[role=dialog]");
const escape = (): boolean => wizard().dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true }));

async function giveName(name: string): Promise<void> {
  (await until(() => button("Continue to system"))).click();
  const field = await until(() => {
    const found = wizard().querySelector<HTMLInputElement>(".form input.input");
    if (!found) throw new Error("there is no field for the name");
    return found;
  });
  // React listens to its own setter's events only.
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")?.set?.call(field, name);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await until(() => expect(wizard().querySelector("h2")?.textContent).toBe(name));
}

describe("leaving the wizard", () => {
  it("just closes one in which nothing was filled in", () => {
    escape();
    expect(closed).toEqual([undefined]);
    expect(dialog()).toBeNull();
  });

  it("asks before what was typed is lost, and stays when the answer is no", async () => {
    await giveName("precious");
    escape();
    const asked = await until(() => dialog() ?? expect.fail("nothing was asked"));
    expect(asked.textContent).toContain("lost");
    button("Cancel", asked).click();
    await until(() => expect(dialog()).toBeNull());
    expect(closed).toEqual([]);
    expect(wizard().querySelector("h2")?.textContent).toBe("precious");
  });

  it("leaves when the answer is yes, also by the button of the first step", async () => {
    await giveName("worthless");
    button("Back").click();
    (await until(() => button("Cancel"))).click();
    const asked = await until(() => dialog() ?? expect.fail("nothing was asked"));
    expect(closed).toEqual([]);
    button("Leave", asked).click();
    await until(() => expect(closed).toEqual([undefined]));
  });
});

describe("the wizard's words", () => {
  it("call a processor a processor", async () => {
    await giveName("words");
    expect(document.body.textContent).toContain("1 processor, 256 MB memory");
    expect(document.body.textContent).not.toMatch(/\bcores?\b/);
  });
});
