import { BrowserWindow, nativeTheme, screen, type NativeImage, type Rectangle } from "electron";
import { Emitter } from "../core/base/emitter";
import type { ConsoleView } from "../core/contract/desktop";
import type { MachineId } from "../core/contract/model";
import { facts, type WindowState } from "./channels";
import type { PreferenceStore, WindowPlace } from "./preferences";
import { appIcon } from "./icon";
import { pageOrigin, pagePreferences } from "./security";

/** The windows: the main one, and one console for each machine that has one open. They have no frame; the pages draw it. */

/** What is behind a page until it has painted; the theme's `room` colour, so that nothing flashes. */
const background = { dark: "#111815", light: "#e3e9e2" };

interface Kind {
  readonly page: string;
  readonly size: { readonly width: number; readonly height: number };
  readonly least: { readonly width: number; readonly height: number };
}

const mainKind: Kind = { page: "index.html", size: { width: 1280, height: 820 }, least: { width: 860, height: 560 } };
const consoleKind: Kind = { page: "console.html", size: { width: 1060, height: 760 }, least: { width: 480, height: 360 } };

export class Windows {
  private main: BrowserWindow | undefined;
  private icon: NativeImage | undefined;
  private readonly consoles = new Map<MachineId, BrowserWindow>();
  private readonly mainClosing = new Emitter<{ preventDefault(): void }>();
  /** The main window is about to close; whoever has something to ask first prevents it. */
  readonly onWillCloseMain = this.mainClosing.event;

  constructor(
    private readonly preload: string,
    private readonly store: PreferenceStore,
  ) {
    nativeTheme.themeSource = store.preferences.theme;
    store.onDidChange(({ theme }) => {
      nativeTheme.themeSource = theme;
    });
    nativeTheme.on("updated", () => {
      for (const window of this.all()) window.setBackgroundColor(backgroundNow());
    });
  }

  all(): BrowserWindow[] {
    return [...(this.main ? [this.main] : []), ...this.consoles.values()];
  }

  get mainWindow(): BrowserWindow | undefined {
    return this.main;
  }

  /** True for windows this app has opened. */
  owns(window: BrowserWindow | null): window is BrowserWindow {
    return window !== null && this.all().includes(window);
  }

  /** Says `value` to every page. */
  broadcast(channel: string, value: unknown): void {
    for (const window of this.all()) window.webContents.send(channel, value);
  }

  openMain(): BrowserWindow {
    if (this.main) return reveal(this.main);
    const window = this.create("main", mainKind, "Terrarium", "");
    this.main = window;
    window.on("close", (event) => this.mainClosing.fire(event));
    window.on("closed", () => {
      this.main = undefined;
    });
    return window;
  }

  openConsole(id: MachineId, machineName: string, show?: ConsoleView): BrowserWindow {
    const open = this.consoles.get(id);
    if (open) {
      if (show !== undefined) open.webContents.send(facts.consoleView, show);
      return reveal(open);
    }
    const window = this.create(`console:${id}`, consoleKind, consoleTitle(machineName), `?machine=${id}${show === undefined ? "" : `&show=${show}`}`);
    this.consoles.set(id, window);
    // Every key belongs to the guest, so no shortcut of the application may reach this window.
    window.removeMenu();
    window.webContents.setIgnoreMenuShortcuts(true);
    window.on("closed", () => this.consoles.delete(id));
    return window;
  }

  renameConsole(id: MachineId, machineName: string): void {
    this.consoles.get(id)?.setTitle(consoleTitle(machineName));
  }

  closeConsole(id: MachineId): void {
    this.consoles.get(id)?.close();
  }

  /** Closes everything without asking. */
  destroyAll(): void {
    for (const window of this.all()) window.destroy();
  }

  private create(key: string, kind: Kind, title: string, query: string): BrowserWindow {
    const place = placeOnScreen(this.store.place(key), screen.getAllDisplays().map((display) => display.workArea));
    const window = new BrowserWindow({
      ...(place === undefined ? kind.size : { x: place.x, y: place.y, width: place.width, height: place.height }),
      minWidth: kind.least.width,
      minHeight: kind.least.height,
      title,
      frame: false,
      show: false,
      backgroundColor: backgroundNow(),
      webPreferences: pagePreferences(this.preload),
    });
    if (place?.maximized) window.maximize();
    window.once("ready-to-show", () => {
      window.show();
      // A Mac takes it from the application; elsewhere it is drawn once the window is there.
      if (process.platform !== "darwin") window.setIcon((this.icon ??= appIcon(48)));
    });
    // The title is main's to give: a page cannot pass for another machine's.
    window.on("page-title-updated", (event) => event.preventDefault());
    this.watch(key, window);
    void window.loadURL(`${pageOrigin}/${kind.page}${query}`);
    return window;
  }

  private watch(key: string, window: BrowserWindow): void {
    const tell = (): void => {
      if (!window.isDestroyed()) window.webContents.send(facts.windowState, windowState(window));
    };
    window.on("maximize", tell);
    window.on("unmaximize", tell);
    window.on("enter-full-screen", tell);
    window.on("leave-full-screen", tell);
    window.on("focus", tell);
    window.on("blur", tell);
    const remember = (): void => {
      if (window.isFullScreen() || window.isMinimized()) return;
      this.store.remember(key, { ...window.getNormalBounds(), maximized: window.isMaximized() });
    };
    window.on("resize", remember);
    window.on("move", remember);
    window.on("maximize", remember);
    window.on("unmaximize", remember);
  }
}

export function windowState(window: BrowserWindow): WindowState {
  return { maximized: window.isMaximized(), fullscreen: window.isFullScreen(), focused: window.isFocused() };
}

/**
 * The remembered place, if enough of it is on a display that is there now to be seen and taken hold of; it is made no
 * larger than that display.
 */
export function placeOnScreen(place: WindowPlace | undefined, displays: readonly Rectangle[]): WindowPlace | undefined {
  if (place === undefined) return undefined;
  for (const area of displays) {
    const width = Math.min(place.x + place.width, area.x + area.width) - Math.max(place.x, area.x);
    const top = place.y - area.y;
    // A window is moved by its upper edge, so that has to be on the display.
    if (width < 120 || top < 0 || top > area.height - 40) continue;
    return { ...place, width: Math.min(place.width, area.width), height: Math.min(place.height, area.height) };
  }
  return undefined;
}

function consoleTitle(machineName: string): string {
  return `${machineName} – Terrarium`;
}

function backgroundNow(): string {
  return nativeTheme.shouldUseDarkColors ? background.dark : background.light;
}

function reveal(window: BrowserWindow): BrowserWindow {
  if (window.isMinimized()) window.restore();
  window.show();
  window.focus();
  return window;
}
