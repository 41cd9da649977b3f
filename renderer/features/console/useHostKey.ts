import { useEffect, useRef } from "react";
import { HostKey, type ConsoleCommand } from "./hostKey";

/** Runs the host key's commands. It listens before everything else in the window, the guest's screen included. */
export function useHostKey(code: string, commands: Readonly<Record<ConsoleCommand | "release", () => void>>): void {
  const latest = useRef(commands);
  useEffect(() => {
    latest.current = commands;
  });
  useEffect(() => {
    const hostKey = new HostKey(code);
    const listen = (event: KeyboardEvent): void => {
      const outcome = event.type === "keydown" ? hostKey.keyDown(event.code) : hostKey.keyUp(event.code);
      if (!outcome.handled) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (outcome.action !== undefined && !event.repeat) latest.current[outcome.action]();
    };
    const forget = (): void => hostKey.reset();
    window.addEventListener("keydown", listen, { capture: true });
    window.addEventListener("keyup", listen, { capture: true });
    window.addEventListener("blur", forget);
    return () => {
      window.removeEventListener("keydown", listen, { capture: true });
      window.removeEventListener("keyup", listen, { capture: true });
      window.removeEventListener("blur", forget);
    };
  }, [code]);
}
