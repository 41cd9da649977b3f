import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Keyboard } from "../../../core/emulator/keyboard";
import { extendedKeycodeToScancodes, keysymToQcode, qcodeToScancodes } from "../../../core/emulator/keysyms";

/** A US keyboard as a guest reads it: turns scancodes back into characters and keeps what is held. */
class UsGuest {
  typed = "";
  readonly held = new Set<number>();
  private capsLock = false;
  private prefix = 0;

  private static readonly rows: [number, string, string][] = [
    [0x02, "1234567890-=", "!@#$%^&*()_+"],
    [0x10, "qwertyuiop[]", "QWERTYUIOP{}"],
    [0x1e, "asdfghjkl;'`", 'ASDFGHJKL:"~'],
    [0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"],
    [0x39, " ", " "],
  ];

  take(bytes: readonly number[]): void {
    for (const byte of bytes) {
      if (byte === 0xe0) {
        this.prefix = 0xe000;
        continue;
      }
      const code = this.prefix | (byte & 0x7f);
      this.prefix = 0;
      if (byte & 0x80) {
        this.held.delete(code);
        continue;
      }
      if (code === 0x3a && !this.held.has(code)) this.capsLock = !this.capsLock;
      this.held.add(code);
      this.typed += this.characterOf(code);
    }
  }

  private characterOf(code: number): string {
    const shift = this.held.has(0x2a) || this.held.has(0x36);
    for (const [start, plain, shifted] of UsGuest.rows) {
      const letter = plain[code - start];
      if (code < start || letter === undefined) continue;
      const isLetter = letter >= "a" && letter <= "z";
      return (shift !== (this.capsLock && isLetter) ? shifted : plain)[code - start] ?? "";
    }
    return "";
  }
}

function createGuest(): { guest: UsGuest; keyboard: Keyboard; viewer: object } {
  const guest = new UsGuest();
  return { guest, keyboard: new Keyboard((bytes) => guest.take(bytes)), viewer: {} };
}

const ascii = String.fromCharCode(...Array.from({ length: 95 }, (_, i) => 32 + i));
const shift = 0xffe1;

describe("names of keys", () => {
  it("knows the scancodes of QEMU's key names", () => {
    expect(qcodeToScancodes("a")).toEqual({ down: [0x1e], up: [0x9e] });
    expect(qcodeToScancodes("delete")).toEqual({ down: [0xe0, 0x53], up: [0xe0, 0xd3] });
    expect(qcodeToScancodes("print")).toEqual({ down: [0xe0, 0x2a, 0xe0, 0x37], up: [0xe0, 0xb7, 0xe0, 0xaa] });
    expect(qcodeToScancodes("pause")).toEqual({ down: [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], up: [] });
    expect(qcodeToScancodes("unmapped")).toBeUndefined();
    expect(qcodeToScancodes("toString")).toBeUndefined();
  });

  it("gives no two keys of the main block the same scancodes", () => {
    const names = "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret ctrl a s d f g h j k l semicolon apostrophe grave_accent shift backslash z x c v b n m comma dot slash shift_r kp_multiply alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 num_lock scroll_lock kp_0 kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 kp_add kp_subtract kp_divide kp_enter kp_decimal less home end pgup pgdn insert delete up down left right ctrl_r alt_r meta_l meta_r menu print pause".split(" ");
    const codes = names.map((name) => qcodeToScancodes(name)?.down.join());
    expect(codes).not.toContain(undefined);
    expect(new Set(codes).size).toBe(names.length);
  });

  it("takes a character's Unicode keysym for the character", () => {
    expect(keysymToQcode(0x01000041)).toEqual(keysymToQcode(0x41));
  });

  it("turns extended keycodes into scancodes with their prefix", () => {
    expect(extendedKeycodeToScancodes(0x1e)).toEqual({ down: [0x1e], up: [0x9e] });
    expect(extendedKeycodeToScancodes(0xd3)).toEqual({ down: [0xe0, 0x53], up: [0xe0, 0xd3] });
    expect(extendedKeycodeToScancodes(0x54)).toEqual(qcodeToScancodes("print"));
    expect(extendedKeycodeToScancodes(0xc6)).toEqual(qcodeToScancodes("pause"));
    for (const none of [0, 0x80, 0x60, 0x61, 0xe0, 0xe1, 0x100, 0xe053, -1]) expect(extendedKeycodeToScancodes(none)).toBeUndefined();
  });
});

describe("the keyboard", () => {
  it("types every character of ASCII, whatever the viewer's layout has Shift for", () => {
    const { guest, keyboard, viewer } = createGuest();
    for (const character of ascii) {
      keyboard.keysym(viewer, character.charCodeAt(0), true);
      keyboard.keysym(viewer, character.charCodeAt(0), false);
    }
    expect(guest.typed).toBe(ascii);
    expect(guest.held.size).toBe(0);
  });

  it("types every character of ASCII while the viewer holds Shift", () => {
    const { guest, keyboard, viewer } = createGuest();
    keyboard.keysym(viewer, shift, true);
    for (const character of ascii) {
      keyboard.keysym(viewer, character.charCodeAt(0), true);
      keyboard.keysym(viewer, character.charCodeAt(0), false);
      expect(guest.held).toContain(0x2a);
    }
    keyboard.keysym(viewer, shift, false);
    expect(guest.typed).toBe(ascii);
    expect(guest.held.size).toBe(0);
  });

  it("types what was meant when keys overlap, and holds nothing afterwards", () => {
    const events = fc.array(fc.tuple(fc.constantFrom(...Array.from(ascii)), fc.nat({ max: 3 })), { maxLength: 30 });
    fc.assert(
      fc.property(events, fc.array(fc.boolean(), { maxLength: 30 }), (keys, shifts) => {
        const { guest, keyboard, viewer } = createGuest();
        let expected = "";
        const held: string[] = [];
        keys.forEach(([character, release], i) => {
          const code = keysymToQcode(character.charCodeAt(0))?.qcode;
          // A finger cannot press a key that is down.
          if (held.some((other) => keysymToQcode(other.charCodeAt(0))?.qcode === code)) return;
          if (shifts[i] !== undefined) keyboard.keysym(viewer, shift, shifts[i]);
          keyboard.keysym(viewer, character.charCodeAt(0), true);
          held.push(character);
          expected += character;
          while (held.length > release) keyboard.keysym(viewer, (held.shift() ?? "").charCodeAt(0), false);
        });
        for (const character of held) keyboard.keysym(viewer, character.charCodeAt(0), false);
        keyboard.keysym(viewer, shift, false);
        expect(guest.typed).toBe(expected);
        expect([...guest.held]).toEqual([]);
      }),
    );
  });

  it("holds Shift as long as the key, so that a held key repeats as what it is", () => {
    const { guest, keyboard, viewer } = createGuest();
    keyboard.keysym(viewer, 0x41, true);
    keyboard.keysym(viewer, 0x41, true);
    keyboard.keysym(viewer, 0x41, true);
    expect(guest.held).toContain(0x2a);
    keyboard.keysym(viewer, 0x41, false);
    expect(guest.typed).toBe("AAA");
    expect(guest.held.size).toBe(0);
  });

  it("releases a key whose character changed because Shift was let go first", () => {
    const { guest, keyboard, viewer } = createGuest();
    keyboard.keysym(viewer, shift, true);
    keyboard.keysym(viewer, 0x41, true);
    keyboard.keysym(viewer, shift, false);
    keyboard.keysym(viewer, 0x61, false);
    expect(guest.held.size).toBe(0);
  });

  it("keeps letters right while Caps Lock is on", () => {
    const { guest, keyboard, viewer } = createGuest();
    const capsLock = 0xffe5;
    keyboard.keysym(viewer, capsLock, true);
    keyboard.keysym(viewer, capsLock, false);
    // The viewer's Caps Lock is on, so its keyboard says "A" for the key alone.
    for (const character of "Ab1!") {
      keyboard.keysym(viewer, character.charCodeAt(0), true);
      keyboard.keysym(viewer, character.charCodeAt(0), false);
    }
    expect(guest.typed).toBe("Ab1!");
  });

  it("passes combinations through: Ctrl+Alt+Del", () => {
    const sent: number[] = [];
    const keyboard = new Keyboard((bytes) => sent.push(...bytes));
    const viewer = {};
    for (const keysym of [0xffe3, 0xffe9, 0xffff]) keyboard.keysym(viewer, keysym, true);
    for (const keysym of [0xffff, 0xffe9, 0xffe3]) keyboard.keysym(viewer, keysym, false);
    expect(sent).toEqual([0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d]);
  });

  it("releases what a viewer held when it goes away, and nothing that another one holds", () => {
    const { guest, keyboard, viewer } = createGuest();
    const other = {};
    keyboard.keysym(viewer, 0xffe3, true);
    keyboard.keycode(viewer, 0xd3, true);
    keyboard.keysym(viewer, 0x41, true);
    keyboard.keycode(other, 0x1e, true);
    keyboard.releaseAll(viewer);
    expect([...guest.held]).toEqual([0x1e]);
    keyboard.releaseAll(other);
    expect(guest.held.size).toBe(0);
  });

  it("ignores keysyms no US keyboard has, and the release of keys that are not held", () => {
    const sent: number[] = [];
    const keyboard = new Keyboard((bytes) => sent.push(...bytes));
    fc.assert(
      fc.property(fc.nat({ max: 0xffffffff }), (keysym) => {
        keyboard.keysym(keyboard, keysym, false);
        if (!keysymToQcode(keysym)) keyboard.keysym(keyboard, keysym, true);
      }),
    );
    expect(sent).toEqual([]);
  });

  it("sends whole sequences of bytes whatever viewers do", () => {
    const viewers = [{}, {}];
    const event = fc.tuple(fc.nat({ max: 1 }), fc.constantFrom("keysym", "keycode", "gone"), fc.nat({ max: 255 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const guest = new UsGuest();
        const keyboard = new Keyboard((bytes) => {
          expect(bytes.every((byte) => Number.isInteger(byte) && byte > 0 && byte <= 0xff)).toBe(true);
          guest.take(bytes);
        });
        for (const [index, kind, number, down] of events) {
          const viewer = viewers[index] ?? {};
          if (kind === "keysym") keyboard.keysym(viewer, number < 128 ? number : 0xff00 + number, down);
          else if (kind === "keycode") keyboard.keycode(viewer, number, down);
          else keyboard.releaseAll(viewer);
        }
        for (const viewer of viewers) keyboard.releaseAll(viewer);
        expect([...guest.held].filter((code) => code !== 0x1d && code !== 0x45)).toEqual([]);
      }),
    );
  });
});
