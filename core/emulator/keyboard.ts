import { extendedKeycodeToScancodes, keysymToQcode, qcodeToScancodes, type Scancodes } from "./keysyms";

/**
 * The guest's one keyboard under the hands of several viewers.
 *
 * A viewer that sends scancodes is passed through. One that sends keysyms means characters, and its keyboard may have
 * them on other keys: the guest's Shift is then changed for as long as the key is held. So two states of Shift are kept:
 * what viewers hold (`down`) and what the guest was told (`guestShift`); `restore` makes them the same again.
 * What a viewer holds when it goes away is released.
 */
export class Keyboard {
  /** What is held: the bytes that release it, by owner and key. */
  private readonly down = new Map<object, Map<string, Held>>();
  /** Whether the guest was told another state of Shift than viewers hold, for the sake of a character. */
  private forced: "none" | "pressed" | "released" = "none";
  /** Caps Lock as far as the keys sent here tell; a guest starts with it off. */
  private capsLock = false;

  /** `send` takes scancodes of set 1. */
  constructor(private readonly send: (bytes: number[]) => void) {}

  /** A key of the viewer `owner` went down or up; `keysym` is X11's. */
  keysym(owner: object, keysym: number, isDown: boolean): void {
    const stroke = keysymToQcode(keysym);
    const codes = stroke && qcodeToScancodes(stroke.qcode);
    if (!stroke || !codes) return;
    // By key, not by character: who lets go of Shift first releases "a" after having pressed "A".
    const id = `key ${stroke.qcode}`;
    if (!isDown) {
      this.release(owner, id);
      return;
    }
    if (stroke.shift === undefined) this.restore();
    else {
      const isLetter = /^[a-z]$/.test(stroke.qcode);
      this.force(isLetter && this.capsLock ? !stroke.shift : stroke.shift);
    }
    this.press(owner, id, stroke.qcode, codes);
  }

  /** A key of a viewer that sends scancodes (`keycode`, see `extendedKeycodeToScancodes`). False when it is no key. */
  keycode(owner: object, keycode: number, isDown: boolean): boolean {
    const codes = extendedKeycodeToScancodes(keycode);
    if (!codes) return false;
    const id = `keycode ${keycode}`;
    if (isDown) {
      this.restore();
      this.press(owner, id, keycode === capsLockCode ? "caps_lock" : shiftNames.get(keycode) ?? id, codes);
    } else {
      this.release(owner, id);
    }
    return true;
  }

  /** The viewer is gone. */
  releaseAll(owner: object): void {
    for (const id of [...(this.down.get(owner)?.keys() ?? [])]) this.release(owner, id);
    this.down.delete(owner);
  }

  private press(owner: object, id: string, name: string, codes: Scancodes): void {
    const held = this.down.get(owner) ?? new Map<string, Held>();
    this.down.set(owner, held);
    const repeats = held.has(id);
    // A hostile viewer could claim to hold a key for every keysym there is.
    if (!repeats && held.size >= maximumHeld) return;
    if (isShift(name)) this.restore();
    if (name === "caps_lock" && !repeats) this.capsLock = !this.capsLock;
    held.set(id, { name, codes });
    this.send([...codes.down]);
  }

  private release(owner: object, id: string): void {
    const held = this.down.get(owner);
    const key = held?.get(id);
    if (!held || !key) return;
    if (isShift(key.name)) this.restore();
    held.delete(id);
    // Two viewers may hold the same key, and one viewer may have found it by two names.
    if (key.codes.up.length > 0 && !this.isHeld(key.codes)) this.send([...key.codes.up]);
    if (!this.heldKeys().some((other) => !isShift(other.name))) this.restore();
  }

  /** Makes the guest believe that Shift is held, or that it is not. */
  private force(shift: boolean): void {
    const guestShift = this.forced === "none" ? this.heldShifts().length > 0 : this.forced === "pressed";
    if (shift === guestShift) return;
    this.restore();
    const held = this.heldShifts();
    if (shift === held.length > 0) return;
    if (shift) {
      this.send([...leftShift.down]);
      this.forced = "pressed";
    } else {
      this.send(held.flatMap((key) => [...key.codes.up]));
      this.forced = "released";
    }
  }

  private restore(): void {
    if (this.forced === "pressed") this.send([...leftShift.up]);
    if (this.forced === "released") this.send(this.heldShifts().flatMap((key) => [...key.codes.down]));
    this.forced = "none";
  }

  private heldKeys(): Held[] {
    return [...this.down.values()].flatMap((held) => [...held.values()]);
  }

  /** The Shift keys that viewers hold, each once. */
  private heldShifts(): Held[] {
    const byName = new Map<string, Held>();
    for (const key of this.heldKeys()) if (isShift(key.name)) byName.set(key.name, key);
    return [...byName.values()];
  }

  private isHeld(codes: Scancodes): boolean {
    const wanted = codes.down.join();
    return this.heldKeys().some((key) => key.codes.down.join() === wanted);
  }
}

interface Held {
  /** QEMU's name where it matters which key it is. */
  readonly name: string;
  readonly codes: Scancodes;
}

const maximumHeld = 128;
const capsLockCode = 0x3a;
const shiftNames = new Map([
  [0x2a, "shift"],
  [0x36, "shift_r"],
]);
const leftShift: Scancodes = { down: [0x2a], up: [0xaa] };

function isShift(name: string): boolean {
  return name === "shift" || name === "shift_r";
}
