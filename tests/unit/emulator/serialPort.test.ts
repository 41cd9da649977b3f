import { describe, expect, it } from "vitest";
import { maxHeld, SerialPort } from "../../../core/emulator/serialPort";
import type { V86Uart } from "../../../core/emulator/v86Internals";

const ready = 0x60;

function port(): { serial: SerialPort; uart: { lsr: number }; sent: number[]; overruns: () => number } {
  const uart = { input: [], lsr: ready, ints: 0, fifo_control: 0, ThrowInterrupt: () => undefined, data_received: () => undefined };
  const sent: number[] = [];
  let overruns = 0;
  const line = { send: (data: Uint8Array) => void sent.push(data.length), taken: () => undefined, overrun: () => void overruns++ };
  return { serial: new SerialPort(uart as V86Uart, line, () => true), uart, sent, overruns: () => overruns };
}

const total = (sent: readonly number[]): number => sent.reduce((sum, bytes) => sum + bytes, 0);

describe("a serial port whose reader is slow", () => {
  it("says that it is busy until half has been read, and loses nothing of a guest that waits", () => {
    const { serial, uart, sent, overruns } = port();
    let written = 0;
    for (; (uart.lsr & ready) !== 0; written++) serial.put(65);
    for (let more = 0; more < 16; more++, written++) serial.put(65);
    serial.flush();
    expect(total(sent)).toBe(written);
    serial.drained(written / 4);
    expect(uart.lsr & ready).toBe(0);
    serial.drained(written / 2);
    expect(uart.lsr & ready).toBe(ready);
    expect([serial.lostBytes, overruns()]).toEqual([0, 0]);
  });

  it.each([
    ["all at once", Infinity],
    ["slice by slice", 10_000],
  ])("holds no more than it may of a guest that does not look, and says so once: %s", (_, slice) => {
    const { serial, sent, overruns } = port();
    const written = 4 * maxHeld;
    for (let count = 0; count < written; count++) {
      serial.put(65);
      if (count % slice === slice - 1) serial.flush();
    }
    serial.flush();
    expect(total(sent)).toBe(maxHeld);
    expect([serial.lostBytes, overruns()]).toEqual([written - maxHeld, 1]);
    // It takes output again when it was read.
    serial.drained(maxHeld);
    serial.put(65);
    serial.flush();
    expect(total(sent)).toBe(maxHeld + 1);
    for (let count = 0; count < 2 * maxHeld; count++) serial.put(65);
    expect(overruns()).toBe(1);
  });
});
