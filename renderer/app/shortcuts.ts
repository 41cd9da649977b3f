import { useEffect } from "react";
import type { MachineInfo } from "../../core/contract/model";
import { runCommand, type CommandId } from "../features/machines/commands";
import type { Navigation } from "./navigation";

/** Keys that mean the selected machine, when nothing else has them. */
const machineKeys: Readonly<Record<string, CommandId>> = { F2: "rename", Delete: "delete" };

/** The keys of the main window. */
export function useShortcuts(navigation: Navigation, selected: MachineInfo | undefined, active: boolean): void {
  useEffect(() => {
    if (!active) return undefined;
    const pressed = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.repeat) return;
      const control = event.ctrlKey || event.metaKey;
      const run = ((): (() => void) | undefined => {
        if (control && !event.altKey && !event.shiftKey) {
          switch (event.key.toLowerCase()) {
            case "k":
              return navigation.openPalette;
            case "n":
              return () => navigation.openWizard();
            case ",":
              return () => navigation.show({ kind: "preferences" });
            case "b":
              return navigation.toggleSidebar;
            default:
              return undefined;
          }
        }
        const command = machineKeys[event.key];
        if (!command || !selected || control || isTyping(event.target) || document.querySelector("[role=dialog],[role=menu]")) return undefined;
        return () => void runCommand(command, selected);
      })();
      if (!run) return;
      event.preventDefault();
      run();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, [navigation, selected, active]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

