import { createRoot } from "react-dom/client";
import { StoreContext } from "./api/hooks";
import { HostStore } from "./api/store";
import { ThemeRoot } from "./app/ThemeRoot";
import { ToastShelf } from "./app/Toasts";
import "./app/app.css";
import { ConsoleWindow } from "./features/console";
import { ConfirmHost } from "./ui/confirm";

/** A console window's page; its address names the machine. */
async function open(): Promise<void> {
  const asked = new URLSearchParams(window.location.search);
  const id = asked.get("machine");
  const place = document.getElementById("root");
  if (id === null || !place) throw new Error("a console page needs a machine and a place");
  const store = new HostStore(await window.terrarium.preferences());
  store.start();
  createRoot(place).render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <ConsoleWindow id={id} show={asked.get("show") === "ssh" ? "ssh" : undefined} />
        <ConfirmHost />
        <ToastShelf />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
}

void open();
