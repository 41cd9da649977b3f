import type { HostLink } from "./host";
import { facts } from "./channels";
import type { PreferenceStore } from "./preferences";
import type { Windows } from "./windows";

/** Tells the pages what happens, and keeps the windows in step with it. */
export function followHost(host: HostLink, windows: Windows, preferences: PreferenceStore): void {
  host.onDidChange((event) => {
    windows.broadcast(facts.hostEvent, event);
    if (event.type === "machine") windows.renameConsole(event.machine.id, event.machine.name);
    else if (event.type === "machineRemoved") windows.closeConsole(event.id);
  });
  host.onDidChangeState((state) => windows.broadcast(facts.connection, state));
  preferences.onDidChange((value) => windows.broadcast(facts.preferences, value));
}
