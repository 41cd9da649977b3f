/**
 * The host key gives keyboard and pointer back from the guest. Theory of operation:
 *
 *   idle ── host key down ──▶ held ── host key up ──▶ release the keyboard (pressed alone)
 *                              │
 *                              └── another key down ──▶ chord: a command of the console; the host key's own release
 *                                                       then means nothing
 *
 * While the host key is held no key reaches the guest, and the host key itself never does.
 */
export type ConsoleCommand = "fullscreen" | "ctrlAltDelete" | "screenshot" | "typeText" | "serial" | "scale" | "pause" | "menu";

/** What each key does while the host key is held, by `KeyboardEvent.code`. */
export const hostChords: Readonly<Record<string, ConsoleCommand>> = {
  KeyF: "fullscreen",
  Delete: "ctrlAltDelete",
  KeyE: "screenshot",
  KeyT: "typeText",
  KeyL: "serial",
  KeyC: "scale",
  KeyP: "pause",
  Home: "menu",
};

export type HostKeyOutcome = { handled: false } | { handled: true; action?: "release" | ConsoleCommand };

export class HostKey {
  private state: "idle" | "held" | "chord" = "idle";

  /** `code` is the host key as `KeyboardEvent.code`. */
  constructor(private readonly code: string) {}

  keyDown(code: string): HostKeyOutcome {
    if (code === this.code) {
      if (this.state === "idle") this.state = "held";
      return { handled: true };
    }
    if (this.state === "idle") return { handled: false };
    this.state = "chord";
    const action = hostChords[code];
    return action === undefined ? { handled: true } : { handled: true, action };
  }

  keyUp(code: string): HostKeyOutcome {
    if (code === this.code) {
      const alone = this.state === "held";
      this.state = "idle";
      return alone ? { handled: true, action: "release" } : { handled: true };
    }
    // The release of a key that was pressed before the host key must reach the guest, or it would hang there.
    return { handled: false };
  }

  /** The window lost the keyboard: its key releases will not be seen. */
  reset(): void {
    this.state = "idle";
  }
}

/** The host key's name on its key cap. */
export function hostKeyLabel(code: string): string {
  const names: Record<string, string> = {
    ControlRight: "Right Ctrl",
    ControlLeft: "Left Ctrl",
    AltRight: "Right Alt",
    AltLeft: "Left Alt",
    MetaRight: "Right Super",
    MetaLeft: "Left Super",
    ShiftRight: "Right Shift",
    ScrollLock: "Scroll Lock",
    Pause: "Pause",
  };
  return names[code] ?? code.replace(/^Key|^Digit/, "");
}
