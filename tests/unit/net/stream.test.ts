import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countFrames, FrameBatch, FrameDecoder, forEachFrame, lastWholeFrame, RunReader } from "../../../core/net/link/stream";
import { maxFrameBytes } from "../../../core/net/port";

const frames = fc.array(fc.uint8Array({ minLength: 14, maxLength: 2000 }), { maxLength: 20 });

function encode(list: readonly Uint8Array[]): Uint8Array {
  const batch = new FrameBatch(256);
  for (const frame of list) batch.append(frame.length).set(frame);
  return batch.drain();
}

function header(length: number): Uint8Array {
  return Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length);
}

describe("frames on a byte stream", () => {
  it("come out as they went in, however the stream is cut into chunks", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), (list, cuts) => {
        const stream = encode(list);
        const decoder = new FrameDecoder();
        const got: Uint8Array[] = [];
        for (let at = 0, cut = 0; at < stream.length; cut++) {
          const size = cuts[cut % cuts.length] as number;
          expect(decoder.push(stream.subarray(at, at + size), (frame) => got.push(frame.slice()))).toBeUndefined();
          at += size;
        }
        expect(got).toEqual(list);
      }),
    );
  });

  it("are walked in a batch in order", () => {
    const list = [new Uint8Array(60).fill(1), new Uint8Array(1514).fill(2)];
    const got: Uint8Array[] = [];
    forEachFrame(encode(list), (frame) => got.push(frame.slice()));
    expect(got).toEqual(list);
  });

  it("carry the longest frame, even in single bytes", () => {
    const longest = new Uint8Array(maxFrameBytes).fill(7);
    const decoder = new FrameDecoder();
    let got = 0;
    for (const byte of encode([longest])) decoder.push(Uint8Array.of(byte), (frame) => (got = frame.length));
    expect(got).toBe(maxFrameBytes);
  });

  it("end the stream with a reason when a length is too great, in one piece or in two", () => {
    const bad = header(maxFrameBytes + 1);
    expect(new FrameDecoder().push(bad, () => undefined)).toMatch(/longer than the 65550 bytes/);
    const decoder = new FrameDecoder();
    expect(decoder.push(bad.subarray(0, 2), () => undefined)).toBeUndefined();
    expect(decoder.push(bad.subarray(2), () => undefined)).toMatch(/longer than/);
    expect(new FrameDecoder().push(header(0xffffffff), () => undefined)).toMatch(/4294967295 bytes is longer/);
  });

  it("end the stream with a reason when a length is no frame's", () => {
    expect(new FrameDecoder().push(header(0), () => undefined)).toMatch(/shorter than an Ethernet header/);
    expect(new FrameDecoder().push(header(13), () => undefined)).toMatch(/shorter/);
  });

  it("never throw on arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (chunks) => {
        const decoder = new FrameDecoder();
        for (const chunk of chunks) if (decoder.push(chunk, (frame) => expect(frame.length).toBeGreaterThanOrEqual(14)) !== undefined) break;
      }),
    );
  });
});

describe("a batch", () => {
  it("gives its bytes away for good: later frames do not change it", () => {
    const batch = new FrameBatch(64);
    batch.append(20).fill(1);
    const first = batch.drain();
    batch.append(20).fill(2);
    expect(first[4]).toBe(1);
    expect(batch.drain()[4]).toBe(2);
    expect(batch.bytes).toBe(0);
  });
});

describe("runs read from a byte stream", () => {
  /** Reads a stream in pieces of these sizes and collects the frames. */
  function read(stream: Uint8Array, cuts: readonly number[]): { frames: Uint8Array[]; reason: string | undefined; counted: number } {
    const reader = new RunReader(new Uint8Array(4 + maxFrameBytes));
    const got: Uint8Array[] = [];
    let counted = 0;
    for (let at = 0, cut = 0; at < stream.length; cut++) {
      const piece = stream.subarray(at, at + Math.min(cuts[cut % cuts.length] as number, reader.buffer.length - reader.at));
      reader.buffer.set(piece, reader.at);
      const reason = reader.take(piece.length, (bytes, from, to, count) => {
        counted += count;
        forEachFrame(bytes.subarray(from, to), (frame) => got.push(frame.slice()));
      });
      if (reason !== undefined) return { frames: got, reason, counted };
      at += piece.length;
    }
    return { frames: got, reason: undefined, counted };
  }

  it("hold the frames that went in, however the stream is cut into pieces", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1 }), (list, cuts) => {
        expect(read(encode(list), cuts)).toEqual({ frames: list, reason: undefined, counted: list.length });
      }),
    );
  });

  it("go on where they were when whoever takes them fails", () => {
    const [first, second, third] = [1, 2, 3].map((fill) => new Uint8Array(60).fill(fill));
    const stream = encode([first!, second!, third!]);
    const reader = new RunReader(new Uint8Array(4 + maxFrameBytes));
    reader.buffer.set(stream.subarray(0, 94), reader.at);
    expect(() =>
      reader.take(94, () => {
        throw new Error("a fault of ours");
      }),
    ).toThrow("a fault of ours");
    const got: Uint8Array[] = [];
    reader.buffer.set(stream.subarray(94), reader.at);
    expect(reader.take(stream.length - 94, (bytes, from, to) => forEachFrame(bytes.subarray(from, to), (frame) => got.push(frame.slice())))).toBeUndefined();
    expect(got).toEqual([second, third]);
  });

  it("hold the longest frame in a buffer that is just long enough", () => {
    const longest = new Uint8Array(maxFrameBytes).fill(7);
    const { frames: got } = read(encode([longest, longest]), [9999]);
    expect(got.map((frame) => Buffer.compare(frame, longest))).toEqual([0, 0]);
    expect(() => new RunReader(new Uint8Array(1000))).toThrow(/does not hold the longest frame/);
  });

  it("end with a reason at a length that cannot be, behind all the frames before it", () => {
    for (const length of [0, 13, maxFrameBytes + 1, 0xffffffff]) {
      const good = new Uint8Array(60).fill(3);
      const stream = Uint8Array.from([...encode([good, good]), ...header(length), ...new Uint8Array(100)]);
      const { frames: before, reason } = read(stream, [50]);
      expect(before).toEqual([good, good]);
      expect(reason).toContain(`a frame of ${length} bytes`);
    }
  });

  it("never throw and never pass on a length that cannot be, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.integer({ min: 1, max: 5000 }), (bytes, cut) => {
        for (const frame of read(bytes, [cut]).frames) expect(frame.length).toBeGreaterThanOrEqual(14);
      }),
    );
  });

  it("are counted, and cut where a whole frame ends", () => {
    const run = encode([new Uint8Array(20), new Uint8Array(30), new Uint8Array(40)]);
    expect(countFrames(run, 0, run.length)).toBe(3);
    expect(countFrames(run, 24, run.length)).toBe(2);
    expect([0, 23, 24, 57, 58, 101, 102, 5000].map((limit) => lastWholeFrame(run, 0, run.length, limit))).toEqual([0, 0, 24, 24, 58, 58, 102, 102]);
  });
});
