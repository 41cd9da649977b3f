import { maximumSide, type ScreenMessage } from "./framebuffer";
import { TextScreen } from "./screenText";

export type { ScreenMessage } from "./framebuffer";

/**
 * The screen as v86 0.5.462 wants it: an object put in the place of `screen_adapter`. v86 pushes text (`put_char`, the
 * cursor, the font) and hands over pictures when it is asked to (`vga.screen_fill_buffer()`); we draw both into one
 * framebuffer and say which rectangles changed. v86 hands over far more than what changed (every cell of a scrolled
 * text, whole layers of an old VGA mode), so everything is compared with what is drawn already.
 */

/** A part of v86's picture that is to be shown. Its pixels are a view of the emulator's memory: they are copied at once. */
interface Layer {
  readonly image_data: { readonly data: Uint8ClampedArray; readonly width: number; readonly height: number };
  readonly screen_x: number;
  readonly screen_y: number;
  readonly buffer_x: number;
  readonly buffer_y: number;
  readonly buffer_width: number;
  readonly buffer_height: number;
}

/** What v86 calls. The names are v86's own. */
export interface ScreenAdapter {
  readonly FLAG_BLINKING: number;
  readonly FLAG_FONT_PAGE_B: number;
  put_char(row: number, column: number, character: number, flags: number, background: number, foreground: number): void;
  set_mode(graphical: boolean): void;
  set_font_bitmap(height: number, nine: boolean, double: boolean, copyEighth: boolean, plane: Uint8Array, dirty: boolean): void;
  set_font_page(a: number, b: number): void;
  set_size_text(columns: number, rows: number): void;
  set_size_graphical(width: number, height: number, virtualWidth: number, virtualHeight: number): void;
  update_cursor(row: number, column: number): void;
  update_cursor_scanline(start: number, end: number, enabled: boolean): void;
  update_buffer(layers: readonly Layer[]): void;
  clear_screen(): void;
  clear_text_state(): void;
  get_text_screen(): string[];
  get_text_row(row: number): string;
  set_scale(): void;
  pause(): void;
  continue(): void;
  destroy(): void;
}

export interface Screen {
  /** For v86: `Object.defineProperty(emulator, "screen_adapter", { get: () => screen.adapter, set() {} })`. */
  readonly adapter: ScreenAdapter;
  /** Draws what changed and posts it; nothing is posted when nothing changed. Call it after `vga.screen_fill_buffer()`. */
  refresh(): void;
  /** Draws and posts everything at the next refresh: after a state was loaded. */
  invalidate(): void;
  /** The text on the screen, a string for each row; none in a graphics mode. */
  textRows(): string[];
}

const black = 0xff000000;
/** Side of the squares in which changes of a picture are told apart, pixels. */
const tile = 16;

export function createScreen(options: { post(message: ScreenMessage): void }): Screen {
  return new V86Screen(options.post);
}

class V86Screen implements Screen {
  readonly adapter: ScreenAdapter;
  private readonly text = new TextScreen();
  private graphical = false;
  private graphicsWidth = 0;
  private graphicsHeight = 0;
  private width = 0;
  private height = 0;
  private words: Uint32Array = new Uint32Array(0);
  /** The same memory as bytes, for comparing many at a time. */
  private bytes: Buffer = Buffer.alloc(0);
  private announcedText = false;
  /** Which tiles changed, row by row. */
  private dirtyTiles: Uint8Array = new Uint8Array(0);
  private tileColumns = 0;
  private everythingDirty = false;
  /** v86 says what the guest drew, which is not all that a screen that was in text mode has to show. */
  private wantsWholePicture = false;

  constructor(private readonly post: (message: ScreenMessage) => void) {
    const { text } = this;
    const nothing = (): void => undefined;
    this.adapter = {
      FLAG_BLINKING: 1,
      FLAG_FONT_PAGE_B: 2,
      put_char: (row, column, character, flags, background, foreground) => {
        text.put(row, column, character, flags, background, foreground);
      },
      set_mode: (graphical) => {
        if (graphical && !this.graphical) this.wantsWholePicture = true;
        if (!graphical && this.graphical) text.invalidate();
        this.graphical = graphical;
      },
      set_font_bitmap: (height, nine, double, copyEighth, plane, dirty) => {
        text.setFont(height, nine, double, copyEighth, plane, dirty);
      },
      set_font_page: (a, b) => text.setFontPages(a, b),
      set_size_text: (columns, rows) => text.setSize(columns, rows),
      set_size_graphical: (width, height) => {
        this.graphicsWidth = Math.max(0, Math.min(maximumSide, width));
        this.graphicsHeight = Math.max(0, Math.min(maximumSide, height));
        this.wantsWholePicture = true;
      },
      update_cursor: (row, column) => text.moveCursor(row, column),
      update_cursor_scanline: (start, end, enabled) => text.shapeCursor(start, end, enabled),
      update_buffer: (layers) => this.drawLayers(layers),
      clear_screen: () => this.clear(),
      clear_text_state: nothing,
      get_text_screen: () => text.rows(),
      get_text_row: (row) => text.row(row),
      set_scale: nothing,
      pause: nothing,
      continue: nothing,
      destroy: nothing,
    };
  }

  refresh(): void {
    if (this.graphical) {
      if (this.graphicsWidth > 0 && this.graphicsHeight > 0) this.resize(this.graphicsWidth, this.graphicsHeight);
    } else {
      // Between two modes the registers describe sizes that no VGA has.
      if (this.text.width > maximumSide || this.text.height > maximumSide) return;
      this.resize(this.text.width, this.text.height);
      this.text.draw(this.words, (x, y, width, height) => this.markDirty(x, y, width, height));
    }
    this.flush();
  }

  invalidate(): void {
    this.everythingDirty = true;
    this.wantsWholePicture = true;
    this.text.invalidate();
  }

  textRows(): string[] {
    return this.graphical ? [] : this.text.rows();
  }

  private resize(width: number, height: number): void {
    const text = !this.graphical;
    if (width === this.width && height === this.height && text === this.announcedText) return;
    const pixels = new SharedArrayBuffer(width * height * 4);
    this.words = new Uint32Array(pixels).fill(black);
    this.bytes = Buffer.from(pixels);
    this.width = width;
    this.height = height;
    this.announcedText = text;
    this.tileColumns = Math.ceil(width / tile);
    this.dirtyTiles = new Uint8Array(this.tileColumns * Math.ceil(height / tile));
    this.everythingDirty = false;
    this.wantsWholePicture = true;
    this.text.invalidate();
    this.post({ type: "screen-size", width, height, pixels, text });
  }

  private clear(): void {
    if (!this.graphical) return;
    for (let i = 0; i < this.words.length; i++) {
      if (this.words[i] === black) continue;
      this.words.fill(black);
      this.everythingDirty = true;
      break;
    }
    this.wantsWholePicture = true;
  }

  private drawLayers(layers: readonly Layer[]): void {
    if (!this.graphical || this.graphicsWidth === 0 || this.graphicsHeight === 0) return;
    this.resize(this.graphicsWidth, this.graphicsHeight);
    for (const layer of layers) {
      const { width, height, data } = layer.image_data;
      // A view whose memory has moved is empty; v86 makes a new one before its next picture.
      if (data.byteLength < width * height * 4) continue;
      const band = layer.screen_x === layer.buffer_x && layer.screen_y === layer.buffer_y;
      if (band && this.wantsWholePicture) this.drawLayer({ ...layer, screen_x: 0, screen_y: 0, buffer_x: 0, buffer_y: 0, buffer_width: width, buffer_height: height });
      else this.drawLayer(layer);
    }
    if (layers.length > 0) this.wantsWholePicture = false;
  }

  private drawLayer(layer: Layer): void {
    const { data, width: pitch, height: rows } = layer.image_data;
    const offsetX = layer.screen_x - layer.buffer_x;
    const offsetY = layer.screen_y - layer.buffer_y;
    // In the layer's coordinates: within the layer's buffer and within the screen.
    const left = Math.max(layer.buffer_x, -offsetX, 0);
    const right = Math.min(layer.buffer_x + layer.buffer_width, pitch, this.width - offsetX);
    const top = Math.max(layer.buffer_y, -offsetY, 0);
    const bottom = Math.min(layer.buffer_y + layer.buffer_height, rows, this.height - offsetY);
    if (left >= right || top >= bottom) return;
    const source = wordsOf(data);
    const sourceBytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
    for (let y = top; y < bottom; y++) {
      const from = y * pitch + left;
      const to = (y + offsetY) * this.width + left + offsetX;
      const length = right - left;
      // Most rows are as they were; comparing bytes in bulk tells so fastest.
      if (sourceBytes.compare(this.bytes, to * 4, (to + length) * 4, from * 4, (from + length) * 4) === 0) continue;
      this.markChanges(source, from, to, length);
      this.words.set(source.subarray(from, from + length), to);
    }
  }

  /** Marks the tiles in which a row of `length` words at `to` differs from what is to be copied there. */
  private markChanges(source: Uint32Array, from: number, to: number, length: number): void {
    const { words, dirtyTiles } = this;
    const tiles = Math.floor(Math.floor(to / this.width) / tile) * this.tileColumns;
    const left = to % this.width;
    for (let i = 0; i < length; ) {
      const column = Math.floor((left + i) / tile);
      const end = Math.min(length, (column + 1) * tile - left);
      if (dirtyTiles[tiles + column] === 0) {
        while (i < end && source[from + i] === words[to + i]) i++;
        if (i < end) dirtyTiles[tiles + column] = 1;
      }
      i = end;
    }
  }

  private markDirty(x: number, y: number, width: number, height: number): void {
    for (let row = Math.floor(y / tile); row <= Math.floor((y + height - 1) / tile); row++) {
      const start = row * this.tileColumns;
      this.dirtyTiles.fill(1, start + Math.floor(x / tile), start + Math.floor((x + width - 1) / tile) + 1);
    }
  }

  private flush(): void {
    if (this.width === 0) return;
    if (this.everythingDirty) this.dirtyTiles.fill(1);
    this.everythingDirty = false;
    if (!this.dirtyTiles.includes(1)) return;
    const rectangles: number[] = [];
    const tileRows = this.dirtyTiles.length / this.tileColumns;
    for (let row = 0; row < tileRows; row++) {
      const start = row * this.tileColumns;
      for (let column = 0; column < this.tileColumns; column++) {
        if (this.dirtyTiles[start + column] === 0) continue;
        let end = column + 1;
        while (end < this.tileColumns && this.dirtyTiles[start + end] === 1) end++;
        let bottom = row + 1;
        while (bottom < tileRows && this.rowIsDirty(bottom, column, end)) {
          this.dirtyTiles.fill(0, bottom * this.tileColumns + column, bottom * this.tileColumns + end);
          bottom++;
        }
        this.dirtyTiles.fill(0, start + column, start + end);
        const x = column * tile;
        const y = row * tile;
        rectangles.push(x, y, Math.min(end * tile, this.width) - x, Math.min(bottom * tile, this.height) - y);
      }
    }
    this.post({ type: "screen-update", rectangles: Uint16Array.from(rectangles) });
  }

  private rowIsDirty(row: number, from: number, to: number): boolean {
    for (let column = from; column < to; column++) {
      if (this.dirtyTiles[row * this.tileColumns + column] === 0) return false;
    }
    return true;
  }
}

function wordsOf(data: Uint8ClampedArray): Uint32Array {
  const aligned = data.byteOffset % 4 === 0 ? data : data.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 2);
}
