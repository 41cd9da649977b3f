import { Menu, type MenuItemConstructorOptions } from "electron";

export interface MenuActions {
  quit(): void;
}

/**
 * The application's menu. The windows have no frame, so on Linux and Windows nobody sees it; its shortcuts work in the
 * main window all the same. On a Mac it is the bar that every application has.
 */
export function setApplicationMenu(actions: MenuActions): void {
  const edit: MenuItemConstructorOptions = {
    label: "Edit",
    submenu: [{ role: "undo" }, { role: "redo" }, { type: "separator" }, { role: "cut" }, { role: "copy" }, { role: "paste" }, { role: "selectAll" }],
  };
  const terrarium: MenuItemConstructorOptions = {
    label: "Terrarium",
    submenu: [
      ...(process.platform === "darwin" ? ([{ role: "about" }, { type: "separator" }, { role: "hide" }, { role: "hideOthers" }, { role: "unhide" }, { type: "separator" }] as MenuItemConstructorOptions[]) : []),
      { label: "Quit Terrarium", accelerator: "CmdOrCtrl+Q", click: () => actions.quit() },
    ],
  };
  const view: MenuItemConstructorOptions = {
    label: "View",
    submenu: [{ role: "resetZoom" }, { role: "zoomIn" }, { role: "zoomOut" }, { type: "separator" }, { role: "togglefullscreen" }, { role: "toggleDevTools" }],
  };
  const window: MenuItemConstructorOptions = { label: "Window", submenu: [{ role: "minimize" }, { role: "close" }] };
  Menu.setApplicationMenu(Menu.buildFromTemplate([terrarium, edit, view, window]));
}
