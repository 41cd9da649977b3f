import { join } from "node:path";
import { app, session } from "electron";
import { resolveHome, resolveRuntime } from "../core/machine/access";
import { startHeadless } from "../core/server/spawn";
import { Closing } from "./closing";
import { followHost } from "./follow";
import { HostLink } from "./host";
import { answerPages } from "./ipc";
import { openAppLog } from "./logFile";
import { setApplicationMenu } from "./menu";
import { PreferenceStore } from "./preferences";
import { keepPagesInPlace, prepareScheme, refusePermissions, serveOwnFiles } from "./security";
import { beOnlyAppOf } from "./single";
import { hostSources } from "./sources";
import { spawnPty, Terminals } from "./terminals";
import { showTray } from "./tray";
import { Windows } from "./windows";

/** The app, put together. What each part does is in its own file. */
function start(): void {
  const home = resolveHome(process.env);
  prepareScheme(app);
  if (!beOnlyAppOf(app, home, Boolean(process.env.TERRARIUM_HOME))) {
    process.stdout.write("Terrarium is open already; its window comes to the front.\n");
    return app.quit();
  }
  keepPagesInPlace(app);

  const log = openAppLog(join(home, "logs", "app.log"), process.stderr.isTTY === true);
  const runtime = resolveRuntime(__dirname, process);
  const host = new HostLink(hostSources(home, runtime, log), log);

  app.on("window-all-closed", () => app.quit());
  void app.whenReady().then(async () => {
    serveOwnFiles(session.defaultSession, join(__dirname, "renderer"));
    refusePermissions(session.defaultSession);
    const preferences = await PreferenceStore.open(app.getPath("userData"), log);
    const windows = new Windows(join(__dirname, "preload.cjs"), preferences);
    const closing = new Closing(host, windows, preferences, { startHeadless: () => startHeadless(home, runtime), quit: () => app.quit() }, log);

    const terminals = new Terminals({ home, env: process.env, ask: (name, input) => host.ask(name, input), spawn: spawnPty });
    answerPages({ host, windows, preferences, closing, terminals, log });
    followHost(host, windows, preferences);
    windows.openMain().once("ready-to-show", () => showTray(host, { openMain: () => windows.openMain(), openConsole: ({ id, name }) => windows.openConsole(id, name), quit: () => app.quit() }, log));
    host.open();
    setApplicationMenu({ quit: () => app.quit() });

    windows.onWillCloseMain((event) => closing.intercept(event));
    app.on("before-quit", (event) => closing.intercept(event));
    app.on("will-quit", () => preferences.dispose());
    app.on("second-instance", () => windows.openMain());
    app.on("activate", () => windows.openMain());
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => closing.keepAndQuit());
  });
}

start();
