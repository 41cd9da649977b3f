/** Where the keys and the pointer of viewers go. */
export interface InputSink {
  /** Bytes of scancode set 1, in order. */
  scancodes(bytes: number[]): void;
  /** The pointer is at `x`, `y` of a screen of `width` by `height` pixels. */
  pointer(x: number, y: number, width: number, height: number): void;
  /** The pointer moved, pixels to the right and down. */
  relative(dx: number, dy: number): void;
  /** All buttons, held or not. */
  buttons(left: boolean, middle: boolean, right: boolean): void;
  /** Steps of the wheel, positive away from the user. */
  wheel(delta: number): void;
  /** Whether the guest has a mouse that only knows distances; then `relative` is called instead of `pointer`. */
  wantsRelative?(): boolean;
}
