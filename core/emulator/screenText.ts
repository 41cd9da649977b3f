import { initialSize } from "./framebuffer";

/** A VGA text screen: cells with a character and colours, glyphs from the guest's own font plane, and a cursor. */
export class TextScreen {
  private columns = 80;
  private lines = 25;
  private cells: Cells = new Cells(80 * 25);
  private drawn: Cells = new Cells(80 * 25);
  private changed = true;
  private wantsAll = true;

  /** The font plane: 8 fonts of 256 glyphs, 32 bytes each, one byte a line. */
  private readonly font = new Uint8Array(8 * 256 * 32);
  private hasFont = false;
  private glyphHeight = 16;
  private nine = true;
  private double = false;
  private copyEighth = true;
  private pageA = 0;
  private pageB = 0;

  private cursorRow = 0;
  private cursorColumn = 0;
  private cursorStart = 14;
  private cursorEnd = 15;
  private cursorEnabled = false;
  /** The cell on which the cursor is drawn, or -1. */
  private drawnCursor = -1;

  /** Pixels. */
  get width(): number {
    return this.hasFont ? this.columns * this.glyphWidth : initialSize.width;
  }

  get height(): number {
    return this.hasFont ? this.lines * this.glyphHeight : initialSize.height;
  }

  put(row: number, column: number, character: number, flags: number, background: number, foreground: number): void {
    if (row < 0 || row >= this.lines || column < 0 || column >= this.columns) return;
    this.cells.set(row * this.columns + column, character & 0xff, flags, background, foreground);
    this.changed = true;
  }

  setSize(columns: number, rows: number): void {
    // A VGA has at most 256 columns and 1024 lines.
    if (columns < 1 || rows < 1 || columns > 256 || rows > 1024) return;
    if (columns === this.columns && rows === this.lines) return;
    this.columns = columns;
    this.lines = rows;
    this.cells = new Cells(columns * rows);
    this.drawn = new Cells(columns * rows);
    this.invalidate();
  }

  setFont(height: number, nine: boolean, double: boolean, copyEighth: boolean, plane: Uint8Array, dirty: boolean): void {
    const same =
      this.hasFont && this.glyphHeight === height && this.nine === nine && this.double === double && this.copyEighth === copyEighth;
    if (same && !dirty) return;
    this.glyphHeight = Math.max(1, Math.min(32, height));
    this.nine = nine;
    this.double = double;
    this.copyEighth = copyEighth;
    this.font.set(plane.subarray(0, this.font.length));
    this.hasFont = true;
    this.invalidate();
  }

  setFontPages(a: number, b: number): void {
    if (a === this.pageA && b === this.pageB) return;
    this.pageA = a & 7;
    this.pageB = b & 7;
    this.invalidate();
  }

  moveCursor(row: number, column: number): void {
    if (row === this.cursorRow && column === this.cursorColumn) return;
    this.cursorRow = row;
    this.cursorColumn = column;
    this.changed = true;
  }

  shapeCursor(start: number, end: number, enabled: boolean): void {
    if (start === this.cursorStart && end === this.cursorEnd && enabled === this.cursorEnabled) return;
    this.cursorStart = start;
    this.cursorEnd = end;
    this.cursorEnabled = enabled;
    if (this.drawnCursor >= 0) this.drawn.forget(this.drawnCursor);
    this.drawnCursor = -1;
    this.changed = true;
  }

  /** Draws every cell again the next time. */
  invalidate(): void {
    this.wantsAll = true;
    this.changed = true;
  }

  /** Draws the cells that differ from what is drawn into `words`, `width * height` of them; calls `onDrawn` for each run of them, in pixels. */
  draw(words: Uint32Array, onDrawn: (x: number, y: number, width: number, height: number) => void): void {
    if (!this.changed || !this.hasFont) return;
    this.changed = false;
    const { columns, glyphHeight, glyphWidth } = this;
    const cursor = this.cursorCell();
    if (cursor !== this.drawnCursor) {
      if (this.drawnCursor >= 0) this.drawn.forget(this.drawnCursor);
      if (cursor >= 0) this.drawn.forget(cursor);
      this.drawnCursor = cursor;
    }
    for (let row = 0; row < this.lines; row++) {
      let from = -1;
      for (let column = 0; column <= columns; column++) {
        const cell = row * columns + column;
        if (column < columns && (this.wantsAll || !this.cells.same(cell, this.drawn))) {
          this.drawCell(words, row, column, cell === cursor);
          this.drawn.copy(cell, this.cells);
          if (from < 0) from = column;
        } else if (from >= 0) {
          onDrawn(from * glyphWidth, row * glyphHeight, (column - from) * glyphWidth, glyphHeight);
          from = -1;
        }
      }
    }
    this.wantsAll = false;
  }

  rows(): string[] {
    return Array.from({ length: this.lines }, (_, row) => this.row(row));
  }

  row(row: number): string {
    let text = "";
    for (let column = 0; column < this.columns && row < this.lines; column++) {
      text += codePage437[this.cells.character(row * this.columns + column)] ?? " ";
    }
    return text;
  }

  private get glyphWidth(): number {
    return this.double ? 16 : this.nine ? 9 : 8;
  }

  private cursorCell(): number {
    const inside = this.cursorRow < this.lines && this.cursorColumn < this.columns && this.cursorRow >= 0 && this.cursorColumn >= 0;
    return this.cursorEnabled && inside ? this.cursorRow * this.columns + this.cursorColumn : -1;
  }

  private drawCell(words: Uint32Array, row: number, column: number, cursor: boolean): void {
    const cell = row * this.columns + column;
    const { glyphHeight, glyphWidth, double, nine } = this;
    const character = this.cells.character(cell);
    const page = this.cells.flags(cell) & fontPageB ? this.pageB : this.pageA;
    const background = wordOf(this.cells.background(cell));
    const foreground = wordOf(this.cells.foreground(cell));
    // The ninth column of the line-drawing characters repeats the eighth, so that lines have no gaps.
    const repeats = this.copyEighth && character >= 0xc0 && character <= 0xdf;
    const pitch = this.columns * glyphWidth;
    let glyph = (page * 256 + character) * 32;
    let at = row * glyphHeight * pitch + column * glyphWidth;
    for (let line = 0; line < glyphHeight; line++, at += pitch) {
      const full = cursor && line >= this.cursorStart && line <= this.cursorEnd;
      const bits = full ? 0xff : (this.font[glyph] ?? 0);
      glyph++;
      if (double) {
        for (let bit = 0; bit < 8; bit++) {
          const word = bits & (0x80 >> bit) ? foreground : background;
          words[at + 2 * bit] = word;
          words[at + 2 * bit + 1] = word;
        }
        continue;
      }
      for (let bit = 0; bit < 8; bit++) words[at + bit] = bits & (0x80 >> bit) ? foreground : background;
      if (nine) words[at + 8] = full || (repeats && bits & 1) ? foreground : background;
    }
  }
}

const fontPageB = 2;

/** Three numbers a cell in flat arrays: scrolling a screen compares and copies thousands of them. */
class Cells {
  private readonly glyphs: Uint16Array;
  private readonly backgrounds: Int32Array;
  private readonly foregrounds: Int32Array;

  constructor(count: number) {
    this.glyphs = new Uint16Array(count).fill(0x20);
    this.backgrounds = new Int32Array(count);
    this.foregrounds = new Int32Array(count);
  }

  set(cell: number, character: number, flags: number, background: number, foreground: number): void {
    this.glyphs[cell] = character | (flags << 8);
    this.backgrounds[cell] = background;
    this.foregrounds[cell] = foreground;
  }

  copy(cell: number, from: Cells): void {
    this.glyphs[cell] = from.glyphs[cell] ?? 0;
    this.backgrounds[cell] = from.backgrounds[cell] ?? 0;
    this.foregrounds[cell] = from.foregrounds[cell] ?? 0;
  }

  /** Makes the cell differ from every cell there can be. */
  forget(cell: number): void {
    this.glyphs[cell] = 0xffff;
  }

  same(cell: number, other: Cells): boolean {
    return (
      this.glyphs[cell] === other.glyphs[cell] &&
      this.backgrounds[cell] === other.backgrounds[cell] &&
      this.foregrounds[cell] === other.foregrounds[cell]
    );
  }

  character(cell: number): number {
    return (this.glyphs[cell] ?? 0) & 0xff;
  }

  flags(cell: number): number {
    return (this.glyphs[cell] ?? 0) >> 8;
  }

  background(cell: number): number {
    return this.backgrounds[cell] ?? 0;
  }

  foreground(cell: number): number {
    return this.foregrounds[cell] ?? 0;
  }
}

/** v86's colour, 0xRRGGBB, as a word of a frame. */
function wordOf(colour: number): number {
  return (0xff000000 | ((colour & 0xff) << 16) | (colour & 0xff00) | ((colour >> 16) & 0xff)) >>> 0;
}

/** Code page 437, the character set of the PC's own font; the control codes have pictures there. */
const codePage437 = Array.from(
  " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼" +
    String.fromCharCode(...Array.from({ length: 95 }, (_, i) => 32 + i)) +
    "⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0",
);
