import { useEffect, useState } from "react";
import { WindowButtons } from "../ui/WindowButtons";

/** The buttons of the window this page is in. */
export function OwnWindowButtons() {
  const [maximized, setMaximized] = useState(false);
  useEffect(() => window.terrarium.onWindowState((state) => setMaximized(state.maximized)), []);
  return <WindowButtons maximized={maximized} act={(action) => void window.terrarium.window(action)} />;
}
