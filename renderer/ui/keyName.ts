const names: Readonly<Record<string, string>> = {
  ControlRight: "Right Ctrl",
  ControlLeft: "Left Ctrl",
  AltRight: "Right Alt",
  AltLeft: "Left Alt",
  ShiftRight: "Right Shift",
  ShiftLeft: "Left Shift",
  MetaRight: "Right Super",
  MetaLeft: "Left Super",
  ContextMenu: "Menu",
  ScrollLock: "Scroll Lock",
};

/** What is printed on a key, from its `KeyboardEvent.code`. */
export function keyName(code: string): string {
  return names[code] ?? code.replace(/([a-z])([A-Z])/g, "$1 $2");
}
