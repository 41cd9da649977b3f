import type { GuestKey } from "../../ui/GuestScreen";

const key = (keysym: number, code: string): GuestKey => ({ keysym, code });

// X11 keysyms (X.Org keysymdef.h) with the physical key that types them.
const control = key(0xffe3, "ControlLeft");
const alt = key(0xffe9, "AltLeft");

const functionKey = (n: number): GuestKey => key(0xffbd + n, `F${n}`);

/** One entry of the console's "Keys" menu: a combination the host would take for itself. */
export interface KeyCombination {
  readonly label: string;
  readonly keys: readonly GuestKey[];
  /** Begins a new section of the menu. */
  readonly section?: boolean;
}

export const ctrlAltDelete: KeyCombination = { label: "Ctrl+Alt+Del", keys: [control, alt, key(0xffff, "Delete")] };

export const keyCombinations: readonly KeyCombination[] = [
  ctrlAltDelete,
  { label: "Ctrl+Alt+Backspace", keys: [control, alt, key(0xff08, "Backspace")] },
  ...[1, 2, 3, 4, 5, 6].map((n) => ({ label: `Ctrl+Alt+F${n}`, keys: [control, alt, functionKey(n)], section: n === 1 })),
  { label: "Esc", keys: [key(0xff1b, "Escape")], section: true },
  { label: "Tab", keys: [key(0xff09, "Tab")] },
  { label: "Alt+Tab", keys: [alt, key(0xff09, "Tab")] },
  { label: "Ctrl+C", keys: [control, key(0x63, "KeyC")] },
  { label: "Ctrl+D", keys: [control, key(0x64, "KeyD")] },
  { label: "Print Screen", keys: [key(0xff61, "PrintScreen")] },
  { label: "Super", keys: [key(0xffeb, "MetaLeft")] },
];
