import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { localDisplay } from "../../../../renderer/api/display";
import type { Channel } from "../../../../renderer/api/stream";

const sent: number[][] = [];

function fakeChannel(): Channel {
  return {
    send: (data) => sent.push([...(ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data))]),
    close: () => undefined,
    binaryType: "arraybuffer",
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    protocol: "",
    readyState: "open",
    error: undefined,
  };
}

const incremental = [3, 1, 0, 0, 0, 0, 2, 208, 1, 144];
const whole = [3, 0, 0, 0, 0, 0, 2, 208, 1, 144];
const key = [4, 1, 0, 0, 0, 0, 0, 97];

beforeEach(() => {
  sent.length = 0;
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

describe("a display on this computer", () => {
  it("is asked for raw pixels first, and for all else in the viewer's order", () => {
    const channel = localDisplay(fakeChannel());
    // ZRLE (16), raw (0), desktop size (-223).
    channel.send(Uint8Array.of(2, 0, 0, 3, 0, 0, 0, 16, 0, 0, 0, 0, 255, 255, 255, 33));
    expect(sent).toEqual([[2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 16, 255, 255, 255, 33]]);
  });

  it("passes on what is no list of encodings as it is", () => {
    const channel = localDisplay(fakeChannel());
    const messages = [[2], [2, 0, 0, 2, 0, 0, 0, 16], [2, 0, 0, 1, 0, 0, 0, 16], key, whole];
    for (const message of messages) channel.send(Uint8Array.from(message));
    expect(sent).toEqual(messages);
  });

  it("asks for as many pictures as the viewer does when it is looked at", () => {
    const channel = localDisplay(fakeChannel());
    for (let index = 0; index < 5; index++) channel.send(Uint8Array.from(incremental));
    expect(sent).toHaveLength(5);
  });

  it("asks only so often when it is glanced at, and lets nothing else wait", () => {
    const channel = localDisplay(fakeChannel(), 4);
    channel.send(Uint8Array.from(whole));
    channel.send(Uint8Array.from(incremental));
    channel.send(Uint8Array.from(incremental));
    channel.send(Uint8Array.from(key));
    expect(sent).toEqual([whole, incremental, key]);
    vi.advanceTimersByTime(249);
    expect(sent).toHaveLength(3);
    vi.advanceTimersByTime(2);
    expect(sent.slice(3)).toEqual([incremental]);
  });

  it("asks once for what was asked twice while it waited", () => {
    const channel = localDisplay(fakeChannel(), 4);
    for (let index = 0; index < 4; index++) channel.send(Uint8Array.from(incremental));
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(2);
  });

  it("asks no more when it is closed", () => {
    const channel = localDisplay(fakeChannel(), 4);
    channel.send(Uint8Array.from(incremental));
    channel.send(Uint8Array.from(incremental));
    channel.close();
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(1);
  });
});
