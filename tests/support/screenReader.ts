/**
 * Reads text out of a guest's text screen by its pixels. The shapes of the characters are learned from the screen
 * itself: the test writes a line whose text it knows, and every later cell is compared with what was learned.
 */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** Four bytes a pixel; the first three are colour. */
  readonly data: Uint8Array | Uint8ClampedArray;
}

const cellHeight = 16;

/** A cell's shape: one bit a pixel, set where the pixel differs from the cell's background. */
function shapeOf(pixels: Pixels, cellWidth: number, column: number, row: number): string {
  const at = (x: number, y: number): number => {
    const offset = ((row * cellHeight + y) * pixels.width + column * cellWidth + x) * 4;
    return ((pixels.data[offset] ?? 0) << 16) | ((pixels.data[offset + 1] ?? 0) << 8) | (pixels.data[offset + 2] ?? 0);
  };
  const counts = new Map<number, number>();
  for (let y = 0; y < cellHeight; y++) for (let x = 0; x < cellWidth; x++) counts.set(at(x, y), (counts.get(at(x, y)) ?? 0) + 1);
  const background = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
  let shape = "";
  for (let y = 0; y < cellHeight; y++) for (let x = 0; x < cellWidth; x++) shape += at(x, y) === background ? "." : "#";
  return shape;
}

const isBlank = (shape: string): boolean => !shape.includes("#");

export class ScreenReader {
  private readonly characters = new Map<string, string>();

  /** `columns` and `rows`: of the screen, in cells that are 16 pixels high. */
  constructor(
    readonly columns = 80,
    readonly rows = 25,
  ) {}

  /** Learns from `row`, which shows `text` from its first column on. False when the row cannot show that text. */
  learn(pixels: Pixels, row: number, text: string): boolean {
    const learned = new Map<string, string>();
    for (const [column, character] of [...text].entries()) {
      const shape = this.shape(pixels, column, row);
      if (isBlank(shape) !== (character === " ")) return false;
      const known = learned.get(shape);
      if (known !== undefined && known !== character) return false;
      learned.set(shape, character);
    }
    for (const [shape, character] of learned) this.characters.set(shape, character);
    return true;
  }

  /** Finds the row that shows `text` alone, and learns from it. */
  learnAnywhere(pixels: Pixels, text: string): boolean {
    for (let row = 0; row < this.rows; row++) {
      const end = text.length < this.columns ? this.shape(pixels, text.length, row) : "";
      if (isBlank(end) && this.learn(pixels, row, text)) return true;
    }
    return false;
  }

  /** A row's text; a shape that was never learned reads as `?`, trailing blanks are left out. */
  readRow(pixels: Pixels, row: number): string {
    let text = "";
    for (let column = 0; column < this.columns; column++) {
      const shape = this.shape(pixels, column, row);
      text += isBlank(shape) ? " " : (this.characters.get(shape) ?? "?");
    }
    return text.trimEnd();
  }

  read(pixels: Pixels): string {
    return Array.from({ length: this.rows }, (_, row) => this.readRow(pixels, row)).join("\n");
  }

  private shape(pixels: Pixels, column: number, row: number): string {
    return shapeOf(pixels, pixels.width / this.columns, column, row);
  }
}
