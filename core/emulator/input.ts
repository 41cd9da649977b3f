import type { Clock } from "../base/clock";
import { qcodeToScancodes } from "./keysyms";
import { Parameters, QmpError } from "./qmp";
import type { InputSink } from "./inputSink";

/** Absolute coordinates of `input-send-event` reach from 0 to here on each axis. */
const absoluteRange = 0x7fff;
/** Keys may be held this long at most, milliseconds. */
const maxHold = 10_000;

interface Scancodes {
  readonly down: number[];
  readonly up: number[];
}

/** Presses all keys, one after another, holds them and lets them go in reverse: `send-key`. */
export async function pressKeys(input: InputSink, clock: Clock, keys: readonly unknown[], holdTime: number): Promise<void> {
  if (holdTime < 0 || holdTime > maxHold) throw new QmpError(`Parameter 'hold-time' expects a number between 0 and ${maxHold}`);
  const codes = keys.map((key) => keyCodes(Parameters.of(key, "keys")));
  for (const { down } of codes) input.scancodes(down);
  await new Promise<void>((resolve) => clock.schedule(holdTime, resolve));
  for (const { up } of codes.reverse()) input.scancodes(up);
}

function keyCodes(key: Parameters): Scancodes {
  const type = key.string("type");
  if (type === "qcode") {
    const name = key.string("data");
    const codes = qcodeToScancodes(name);
    if (!codes) throw new QmpError(`Parameter 'data' does not accept value '${name}'`);
    return codes;
  }
  if (type !== "number") throw new QmpError(`Parameter 'type' does not accept value '${type}'`);
  // QEMU's key numbers are set-1 scancodes; those with a leading e0 have bit 7 set.
  const number = key.integer("data");
  if (number < 1 || number > 0xff) throw new QmpError("Parameter 'data' expects a key number from 1 to 255");
  const code = number & 0x7f;
  const prefix = number > 0x7f ? [0xe0] : [];
  return { down: [...prefix, code], up: [...prefix, code | 0x80] };
}

/** Buttons and position as the events so far left them; a guest sees whole states, QMP sends changes. */
const held = { left: false, middle: false, right: false };
const position = { x: 0, y: 0 };

/** `input-send-event`: keys, buttons, absolute and relative movements, applied in order. */
export function sendEvents(input: InputSink, events: readonly unknown[]): void {
  const actions = events.map((event) => parseEvent(Parameters.of(event, "events")));
  let moved = false;
  let dx = 0;
  let dy = 0;
  // Both axes of a movement come as events of their own and belong together.
  const settle = (): void => {
    if (moved) input.pointer(position.x, position.y, absoluteRange + 1, absoluteRange + 1);
    if (dx !== 0 || dy !== 0) input.relative(dx, dy);
    moved = false;
    dx = dy = 0;
  };
  for (const action of actions) {
    if (action.type === "act") {
      settle();
      action.run(input);
    } else if (action.type === "abs") {
      position[action.axis] = action.value;
      moved = true;
    } else if (action.axis === "x") {
      dx += action.value;
    } else {
      dy += action.value;
    }
  }
  settle();
}

type Action =
  | { readonly type: "abs" | "rel"; readonly axis: "x" | "y"; readonly value: number }
  | { readonly type: "act"; run(input: InputSink): void };

function parseEvent(event: Parameters): Action {
  const type = event.string("type");
  const data = event.object("data");
  switch (type) {
    case "key": {
      const codes = keyCodes(data.object("key"));
      const down = data.boolean("down");
      return { type: "act", run: (input) => input.scancodes(down ? codes.down : codes.up) };
    }
    case "btn":
      return parseButton(data.string("button"), data.boolean("down"));
    case "abs":
    case "rel": {
      const axis = data.string("axis");
      if (axis !== "x" && axis !== "y") throw new QmpError(`Parameter 'axis' does not accept value '${axis}'`);
      const value = data.integer("value");
      if (type === "abs" && (value < 0 || value > absoluteRange)) {
        throw new QmpError(`Parameter 'value' expects a number between 0 and ${absoluteRange}`);
      }
      return { type, axis, value };
    }
    default:
      throw new QmpError(`Parameter 'type' does not accept value '${type}'`);
  }
}

function parseButton(button: string, down: boolean): Action {
  if (button === "wheel-up" || button === "wheel-down") {
    return { type: "act", run: (input) => (down ? input.wheel(button === "wheel-up" ? 1 : -1) : undefined) };
  }
  if (button !== "left" && button !== "middle" && button !== "right") throw new QmpError(`Parameter 'button' does not accept value '${button}'`);
  return {
    type: "act",
    run(input) {
      held[button] = down;
      input.buttons(held.left, held.middle, held.right);
    },
  };
}
