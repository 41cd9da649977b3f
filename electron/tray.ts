import { Menu, Tray } from "electron";
import type { Disposable } from "../core/base/disposable";
import { toDisposable } from "../core/base/disposable";
import type { Log } from "../core/base/log";
import type { MachineInfo } from "../core/contract/model";
import { isLive } from "../core/contract/states";
import { appIcon } from "./icon";
import type { HostLink } from "./host";

export interface TrayActions {
  openMain(): void;
  openConsole(machine: MachineInfo): void;
  quit(): void;
}

/**
 * The icon in the panel: what runs, and a way to it. It is extra, so it is only made where it can be there: on Linux a
 * panel is spoken to over the session's bus.
 */
export function showTray(host: HostLink, actions: TrayActions, log: Log): Disposable {
  if (process.platform === "linux" && !process.env.DBUS_SESSION_BUS_ADDRESS) return toDisposable(() => undefined);
  const tray = new Tray(appIcon(22));
  tray.setToolTip("Terrarium");
  const live = new Map<string, MachineInfo>();
  const draw = (): void => {
    const machines = [...live.values()].map((machine) => ({ label: machine.name, click: () => actions.openConsole(machine) }));
    tray.setContextMenu(
      Menu.buildFromTemplate([
        { label: "Open Terrarium", click: () => actions.openMain() },
        { type: "separator" },
        ...(machines.length > 0 ? machines : [{ label: "No machine is running", enabled: false }]),
        { type: "separator" },
        { label: "Quit Terrarium", click: () => actions.quit() },
      ]),
    );
  };
  /** A panel's menu is made anew as a whole, so only when what it shows has changed. */
  const note = (machine: MachineInfo): boolean => {
    const before = live.get(machine.id)?.name;
    if (isLive(machine.state)) live.set(machine.id, machine);
    else live.delete(machine.id);
    return before !== live.get(machine.id)?.name;
  };
  tray.on("click", () => actions.openMain());
  draw();
  const load = (): void => {
    if (host.state.state !== "connected") return;
    host.liveMachines().then(
      (machines) => {
        live.clear();
        for (const machine of machines) live.set(machine.id, machine);
        draw();
      },
      (error: unknown) => log.warn(`The panel's menu has no machines: ${String(error)}`),
    );
  };
  load();
  const states = host.onDidChangeState(load);
  const events = host.onDidChange((event) => {
    if (event.type === "machine" ? note(event.machine) : event.type === "machineRemoved" && live.delete(event.id)) draw();
  });
  return toDisposable(() => {
    states.dispose();
    events.dispose();
    tray.destroy();
  });
}
