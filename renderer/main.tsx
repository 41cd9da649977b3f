import { createRoot } from "react-dom/client";
import { StoreContext } from "./api/hooks";
import { HostStore } from "./api/store";
import { App } from "./app/App";
import { ThemeRoot } from "./app/ThemeRoot";

/** The main window's page: preferences first, so that its first picture has the right theme. */
async function open(): Promise<void> {
  const store = new HostStore(await window.terrarium.preferences());
  store.start();
  const place = document.getElementById("root");
  if (!place) throw new Error("the page has no place for the app");
  createRoot(place).render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <App />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
}

void open();
