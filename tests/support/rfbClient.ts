import { once } from "node:events";
import type { Duplex } from "node:stream";
import { createInflate, constants, type Inflate } from "node:zlib";

/**
 * An RFB client for tests, written from RFC 6143 alone: it shares no code with the server. It understands raw, zlib,
 * ZRLE and the pseudo-encodings, keeps the picture in 32-bit pixels (blue lowest, as it asks for) and counts bytes.
 */
export class RfbClient {
  width = 0;
  height = 0;
  name = "";
  /** 0xRRGGBB for each pixel. */
  picture = new Uint32Array(0);
  bytesRead = 0;
  updates = 0;
  /** The numbers of the encodings seen, with how often. */
  readonly encodings = new Map<number, number>();
  readonly statuses: { x: number; y: number; width: number; height: number }[] = [];
  cursor: { width: number; height: number } | undefined;
  private readonly reader: ByteReader;
  private readonly zlib = new Inflater();
  private readonly zrle = new Inflater();

  constructor(readonly stream: Duplex) {
    this.reader = new ByteReader(stream, (count) => {
      this.bytesRead += count;
    });
  }

  async handshake(version = "RFB 003.008\n"): Promise<void> {
    const banner = (await this.reader.take(12)).toString("latin1");
    if (banner !== "RFB 003.008\n") throw new Error(`the server said ${JSON.stringify(banner)}`);
    this.stream.write(version);
    if (version === "RFB 003.003\n") {
      const type = (await this.reader.take(4)).readUInt32BE();
      if (type !== 1) throw new Error(`security type ${type}`);
    } else {
      const types = await this.reader.take((await this.reader.take(1)).readUInt8());
      if (!types.includes(1)) throw new Error("the server does not offer security type 1");
      this.stream.write(Uint8Array.of(1));
      if (version === "RFB 003.008\n") {
        const result = (await this.reader.take(4)).readUInt32BE();
        if (result !== 0) throw new Error(`security result ${result}`);
      }
    }
    this.stream.write(Uint8Array.of(1));
    const init = await this.reader.take(24);
    this.resize(init.readUInt16BE(0), init.readUInt16BE(2));
    this.name = (await this.reader.take(init.readUInt32BE(20))).toString("utf8");
    this.setPixelFormat();
  }

  /** 32 bits, 0xRRGGBB, little-endian. */
  setPixelFormat(): void {
    const message = Buffer.alloc(20);
    message.set([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0], 4);
    this.stream.write(message);
  }

  setEncodings(...numbers: number[]): void {
    const message = Buffer.alloc(4 + 4 * numbers.length);
    message[0] = 2;
    message.writeUInt16BE(numbers.length, 2);
    numbers.forEach((number, i) => message.writeInt32BE(number, 4 + 4 * i));
    this.stream.write(message);
  }

  request(incremental = true, x = 0, y = 0, width = this.width, height = this.height): void {
    const message = Buffer.alloc(10);
    message[0] = 3;
    message[1] = Number(incremental);
    [x, y, width, height].forEach((value, i) => message.writeUInt16BE(value, 2 + 2 * i));
    this.stream.write(message);
  }

  key(keysym: number, down: boolean): void {
    const message = Buffer.alloc(8);
    message[0] = 4;
    message[1] = Number(down);
    message.writeUInt32BE(keysym, 4);
    this.stream.write(message);
  }

  pointer(x: number, y: number, buttons: number): void {
    const message = Buffer.alloc(6);
    message[0] = 5;
    message[1] = buttons;
    message.writeUInt16BE(x, 2);
    message.writeUInt16BE(y, 4);
    this.stream.write(message);
  }

  /** Reads server messages up to the end of the next update. */
  async update(): Promise<void> {
    for (;;) {
      const type = (await this.reader.take(1)).readUInt8();
      if (type === 0) break;
      if (type === 1) {
        const head = await this.reader.take(5);
        await this.reader.take(head.readUInt16BE(3) * 6);
      } else {
        throw new Error(`server message ${type}`);
      }
    }
    const head = await this.reader.take(3);
    const count = head.readUInt16BE(1);
    for (let i = 0; i < count; i++) await this.rectangle();
    this.updates++;
  }

  private async rectangle(): Promise<void> {
    const head = await this.reader.take(12);
    const [x = 0, y = 0, width = 0, height = 0] = [0, 2, 4, 6].map((at) => head.readUInt16BE(at));
    const number = head.readInt32BE(8);
    this.encodings.set(number, (this.encodings.get(number) ?? 0) + 1);
    switch (number) {
      case 0:
        this.put(x, y, width, height, await this.reader.take(width * height * 4));
        return;
      case 6: {
        const data = await this.reader.take((await this.reader.take(4)).readUInt32BE());
        this.put(x, y, width, height, await this.zlib.inflate(data));
        return;
      }
      case 16: {
        const data = await this.reader.take((await this.reader.take(4)).readUInt32BE());
        this.putTiles(x, y, width, height, await this.zrle.inflate(data));
        return;
      }
      case -223:
        this.resize(width, height);
        return;
      case -308: {
        const screens = (await this.reader.take(4)).readUInt8();
        await this.reader.take(16 * screens);
        this.statuses.push({ x, y, width, height });
        if (y === 0) this.resize(width, height);
        return;
      }
      case -239:
        await this.reader.take(width * height * 4 + Math.ceil(width / 8) * height);
        this.cursor = { width, height };
        return;
      case -258:
        return;
      default:
        throw new Error(`encoding ${number}`);
    }
  }

  private resize(width: number, height: number): void {
    if (width === this.width && height === this.height) return;
    this.width = width;
    this.height = height;
    this.picture = new Uint32Array(width * height);
  }

  private put(x: number, y: number, width: number, height: number, data: Buffer): void {
    if (data.length !== width * height * 4) throw new Error(`${data.length} bytes for ${width} x ${height} pixels`);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        this.picture[(y + row) * this.width + x + column] = data.readUInt32LE((row * width + column) * 4) & 0xffffff;
      }
    }
  }

  /** RFC 6143 7.7.6. */
  private putTiles(x: number, y: number, width: number, height: number, data: Buffer): void {
    let at = 0;
    const byte = (): number => data.readUInt8(at++);
    const pixel = (): number => byte() | (byte() << 8) | (byte() << 16);
    const length = (): number => {
      let total = 1;
      for (;;) {
        const more = byte();
        total += more;
        if (more !== 255) return total;
      }
    };
    for (let top = y; top < y + height; top += 64) {
      for (let left = x; left < x + width; left += 64) {
        const columns = Math.min(64, x + width - left);
        const rows = Math.min(64, y + height - top);
        const pixels: number[] = [];
        const kind = byte();
        const palette = kind > 1 && kind !== 128 ? Array.from({ length: kind & 0x7f }, pixel) : [];
        const look = (index: number): number => {
          const colour = palette[index];
          if (colour === undefined) throw new Error(`index ${index} in a palette of ${palette.length}`);
          return colour;
        };
        if (kind === 0) while (pixels.length < columns * rows) pixels.push(pixel());
        else if (kind === 1) pixels.push(...new Array<number>(columns * rows).fill(pixel()));
        else if (kind <= 16) {
          const bits = kind === 2 ? 1 : kind <= 4 ? 2 : 4;
          for (let row = 0; row < rows; row++) {
            for (let column = 0; column < columns; ) {
              const packed = byte();
              for (let shift = 8 - bits; shift >= 0 && column < columns; shift -= bits, column++) {
                pixels.push(look((packed >> shift) & ((1 << bits) - 1)));
              }
            }
          }
        } else if (kind === 128) {
          while (pixels.length < columns * rows) {
            const colour = pixel();
            for (let run = length(); run > 0; run--) pixels.push(colour);
          }
        } else if (kind >= 130) {
          while (pixels.length < columns * rows) {
            const index = byte();
            for (let run = index & 0x80 ? length() : 1; run > 0; run--) pixels.push(look(index & 0x7f));
          }
        } else {
          throw new Error(`tile of kind ${kind}`);
        }
        if (pixels.length !== columns * rows) throw new Error(`${pixels.length} pixels in a tile of ${columns} x ${rows}`);
        pixels.forEach((colour, i) => {
          this.picture[(top + Math.floor(i / columns)) * this.width + left + (i % columns)] = colour;
        });
      }
    }
    if (at !== data.length) throw new Error(`${data.length - at} bytes behind the last tile`);
  }
}

/** One zlib stream in pieces that were flushed. */
class Inflater {
  private readonly stream: Inflate = createInflate();
  private parts: Buffer[] = [];

  constructor() {
    this.stream.on("data", (part: Buffer) => this.parts.push(part));
  }

  async inflate(data: Buffer): Promise<Buffer> {
    this.stream.write(data);
    await new Promise<void>((resolve, reject) => {
      this.stream.once("error", reject);
      this.stream.flush(constants.Z_SYNC_FLUSH, () => {
        this.stream.off("error", reject);
        resolve();
      });
    });
    const result = Buffer.concat(this.parts);
    this.parts = [];
    return result;
  }
}

class ByteReader {
  private parts: Buffer[] = [];
  private available = 0;
  private ended = false;

  constructor(
    private readonly stream: Duplex,
    onRead: (count: number) => void,
  ) {
    stream.on("data", (part: Buffer) => {
      onRead(part.length);
      this.parts.push(part);
      this.available += part.length;
      stream.emit("readerChange");
    });
    const end = (): void => {
      this.ended = true;
      stream.emit("readerChange");
    };
    stream.on("end", end);
    stream.on("close", end);
    stream.on("error", end);
  }

  async take(count: number): Promise<Buffer> {
    while (this.available < count) {
      if (this.ended) throw new Error(`the connection ended with ${this.available} bytes of ${count}`);
      await once(this.stream, "readerChange");
    }
    const all = Buffer.concat(this.parts);
    this.parts = [all.subarray(count)];
    this.available -= count;
    return all.subarray(0, count);
  }
}
