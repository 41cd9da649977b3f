/**
 * Keys of a US keyboard in the three ways they are named: the scancodes (set 1) that the guest's keyboard controller
 * gets, QEMU's names of keys (QKeyCode, as QMP's send-key has them), and X11 keysyms (keysymdef.h), which RFB clients
 * send and which mean a character rather than a key.
 */

/** Keys with one byte of scancode. The byte with bit 7 set releases the key. */
const plainKeys: Record<string, number> = {
  esc: 0x01, "1": 0x02, "2": 0x03, "3": 0x04, "4": 0x05, "5": 0x06, "6": 0x07, "7": 0x08, "8": 0x09, "9": 0x0a, "0": 0x0b,
  minus: 0x0c, equal: 0x0d, backspace: 0x0e, tab: 0x0f,
  q: 0x10, w: 0x11, e: 0x12, r: 0x13, t: 0x14, y: 0x15, u: 0x16, i: 0x17, o: 0x18, p: 0x19,
  bracket_left: 0x1a, bracket_right: 0x1b, ret: 0x1c, ctrl: 0x1d,
  a: 0x1e, s: 0x1f, d: 0x20, f: 0x21, g: 0x22, h: 0x23, j: 0x24, k: 0x25, l: 0x26,
  semicolon: 0x27, apostrophe: 0x28, grave_accent: 0x29, shift: 0x2a, backslash: 0x2b,
  z: 0x2c, x: 0x2d, c: 0x2e, v: 0x2f, b: 0x30, n: 0x31, m: 0x32, comma: 0x33, dot: 0x34, slash: 0x35, shift_r: 0x36,
  kp_multiply: 0x37, asterisk: 0x37, alt: 0x38, spc: 0x39, caps_lock: 0x3a,
  f1: 0x3b, f2: 0x3c, f3: 0x3d, f4: 0x3e, f5: 0x3f, f6: 0x40, f7: 0x41, f8: 0x42, f9: 0x43, f10: 0x44,
  num_lock: 0x45, scroll_lock: 0x46,
  kp_7: 0x47, kp_8: 0x48, kp_9: 0x49, kp_subtract: 0x4a, kp_4: 0x4b, kp_5: 0x4c, kp_6: 0x4d, kp_add: 0x4e,
  kp_1: 0x4f, kp_2: 0x50, kp_3: 0x51, kp_0: 0x52, kp_decimal: 0x53,
  less: 0x56, f11: 0x57, f12: 0x58, kp_equals: 0x59, f13: 0x5d, f14: 0x5e, f15: 0x5f,
  hiragana: 0x77, katakanahiragana: 0x70, ro: 0x73, henkan: 0x79, muhenkan: 0x7b, yen: 0x7d, kp_comma: 0x7e,
};

/** Keys whose scancode follows the byte e0. */
const extendedKeys: Record<string, number> = {
  audioprev: 0x10, audionext: 0x19, kp_enter: 0x1c, ctrl_r: 0x1d, audiomute: 0x20, calculator: 0x21, audioplay: 0x22,
  audiostop: 0x24, volumedown: 0x2e, volumeup: 0x30, ac_home: 0x32, kp_divide: 0x35, alt_r: 0x38,
  home: 0x47, up: 0x48, pgup: 0x49, left: 0x4b, right: 0x4d, end: 0x4f, down: 0x50, pgdn: 0x51, insert: 0x52, delete: 0x53,
  meta_l: 0x5b, meta_r: 0x5c, compose: 0x5d, menu: 0x5d, power: 0x5e, sleep: 0x5f, wake: 0x63,
  ac_search: 0x65, ac_bookmarks: 0x66, ac_refresh: 0x67, ac_stop: 0x68, ac_forward: 0x69, ac_back: 0x6a,
  computer: 0x6b, mail: 0x6c, mediaselect: 0x6d,
};

/** The bytes a keyboard sends when a key goes down and up. A key that is held repeats `down`. */
export interface Scancodes {
  readonly down: readonly number[];
  readonly up: readonly number[];
}

const scancodes = new Map<string, Scancodes>([
  ...Object.entries(plainKeys).map(([name, code]): [string, Scancodes] => [name, { down: [code], up: [code | 0x80] }]),
  ...Object.entries(extendedKeys).map(([name, code]): [string, Scancodes] => [
    name,
    { down: [0xe0, code], up: [0xe0, code | 0x80] },
  ]),
  // Keys from before the e0 prefix: Print pretends that Shift is held, Pause is a sequence that is never released.
  ["print", { down: [0xe0, 0x2a, 0xe0, 0x37], up: [0xe0, 0xb7, 0xe0, 0xaa] }],
  ["pause", { down: [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], up: [] }],
  ["sysrq", { down: [0x54], up: [0xd4] }],
]);

/** The scancodes of a QEMU key name, or undefined when there is no such key. */
export function qcodeToScancodes(qcode: string): { down: number[]; up: number[] } | undefined {
  const codes = scancodes.get(qcode);
  return codes && { down: [...codes.down], up: [...codes.up] };
}

/** How a keysym is typed. */
export interface KeyStroke {
  readonly qcode: string;
  /** Whether Shift has to be held (true) or must not be (false); undefined where Shift does not matter. */
  readonly shift?: boolean;
}

const strokes = new Map<number, KeyStroke>();

/** Every character of ASCII in pairs of a key and what it types without and with Shift. */
const printableKeys: readonly (readonly [qcode: string, plain: string, shifted: string])[] = [
  ["grave_accent", "`", "~"], ["1", "1", "!"], ["2", "2", "@"], ["3", "3", "#"], ["4", "4", "$"], ["5", "5", "%"],
  ["6", "6", "^"], ["7", "7", "&"], ["8", "8", "*"], ["9", "9", "("], ["0", "0", ")"], ["minus", "-", "_"], ["equal", "=", "+"],
  ["bracket_left", "[", "{"], ["bracket_right", "]", "}"], ["backslash", "\\", "|"], ["semicolon", ";", ":"],
  ["apostrophe", "'", '"'], ["comma", ",", "<"], ["dot", ".", ">"], ["slash", "/", "?"],
  ...Array.from("abcdefghijklmnopqrstuvwxyz", (letter) => [letter, letter, letter.toUpperCase()] as const),
];
for (const [qcode, plain, shifted] of printableKeys) {
  strokes.set(plain.charCodeAt(0), { qcode, shift: false });
  strokes.set(shifted.charCodeAt(0), { qcode, shift: true });
}
strokes.set(0x20, { qcode: "spc" });

const namedKeys: Record<string, readonly number[]> = {
  backspace: [0xff08], tab: [0xff09, 0xfe20], ret: [0xff0d, 0xff0a], pause: [0xff13, 0xff6b], scroll_lock: [0xff14], sysrq: [0xff15],
  esc: [0xff1b], henkan: [0xff23], muhenkan: [0xff22], katakanahiragana: [0xff27], hiragana: [0xff25],
  home: [0xff50], left: [0xff51], up: [0xff52], right: [0xff53], down: [0xff54], pgup: [0xff55], pgdn: [0xff56], end: [0xff57],
  print: [0xff61], insert: [0xff63], menu: [0xff67], num_lock: [0xff7f], delete: [0xffff, 0x7f],
  kp_enter: [0xff8d], kp_multiply: [0xffaa], kp_add: [0xffab], kp_comma: [0xffac], kp_subtract: [0xffad], kp_divide: [0xffaf], kp_equals: [0xffbd],
  kp_7: [0xff95, 0xffb7], kp_4: [0xff96, 0xffb4], kp_8: [0xff97, 0xffb8], kp_6: [0xff98, 0xffb6], kp_2: [0xff99, 0xffb2],
  kp_9: [0xff9a, 0xffb9], kp_3: [0xff9b, 0xffb3], kp_1: [0xff9c, 0xffb1], kp_5: [0xff9d, 0xffb5], kp_0: [0xff9e, 0xffb0], kp_decimal: [0xff9f, 0xffae],
  shift: [0xffe1], shift_r: [0xffe2], ctrl: [0xffe3], ctrl_r: [0xffe4], caps_lock: [0xffe5, 0xffe6],
  alt: [0xffe9, 0xffe7], alt_r: [0xffea, 0xffe8, 0xfe03, 0xff7e], meta_l: [0xffeb, 0xffed], meta_r: [0xffec, 0xffee],
  audioprev: [0x1008ff16], audionext: [0x1008ff17], audiomute: [0x1008ff12], volumedown: [0x1008ff11], volumeup: [0x1008ff13],
  audioplay: [0x1008ff14], audiostop: [0x1008ff15],
};
for (const [qcode, keysyms] of Object.entries(namedKeys)) for (const keysym of keysyms) strokes.set(keysym, { qcode });
for (let number = 1; number <= 15; number++) strokes.set(0xffbd + number, { qcode: `f${number}` });

/** The key of a US keyboard that types an X11 keysym, or undefined where none does. */
export function keysymToQcode(keysym: number): KeyStroke | undefined {
  // Unicode keysyms of the characters that have an older one too (keysymdef.h, "Unicode keysyms").
  if (keysym >= 0x01000020 && keysym <= 0x0100007e) return strokes.get(keysym - 0x01000000);
  return strokes.get(keysym);
}

/**
 * The key of an extended key event's scancode (rfbproto, "QEMU Extended Key Event Message"): set 1, where bit 7 stands for
 * the prefix e0. Undefined for what is no key.
 */
export function extendedKeycodeToScancodes(keycode: number): Scancodes | undefined {
  if (keycode <= 0 || keycode > 0xff) return undefined;
  // Keys of more than two bytes have codes of their own there.
  if (keycode === 0x54 || keycode === 0xb7) return scancodes.get("print");
  if (keycode === 0xc6) return scancodes.get("pause");
  const code = keycode & 0x7f;
  // The release of these two would be the prefixes e0 and e1 themselves.
  if (code === 0 || code === 0x60 || code === 0x61) return undefined;
  return keycode & 0x80 ? { down: [0xe0, code], up: [0xe0, code | 0x80] } : { down: [code], up: [code | 0x80] };
}
