// @vitest-environment happy-dom
import { createRoot } from "react-dom/client";
import { expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import { StoreContext, useMachineCount } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { fakeMachine } from "../../../support/fakeDesktop";

it("the number of machines is drawn again when one comes, and not when one changes", async () => {
  const store = new HostStore(Preferences.parse({}));
  const drawn: (number | undefined)[] = [];
  function Count() {
    drawn.push(useMachineCount());
    return null;
  }
  const root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(<StoreContext.Provider value={store}><Count /></StoreContext.Provider>);
  await vi.waitFor(() => expect(drawn).toEqual([undefined]));
  const machine = fakeMachine("a");
  store.apply({ type: "machine", machine });
  await vi.waitFor(() => expect(drawn).toEqual([undefined, 1]));
  store.apply({ type: "machine", machine: { ...machine, state: "running" } });
  store.apply({ type: "machine", machine: fakeMachine("b") });
  await vi.waitFor(() => expect(drawn.at(-1)).toBe(2));
  expect(drawn).toEqual([undefined, 1, 2]);
  root.unmount();
});
