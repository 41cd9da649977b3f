import type { SerialState } from "./stateShape";
import type { V86Uart } from "./v86Internals";

export interface SerialLine {
  send(data: Uint8Array): void;
  /** `bytes` of input have reached the guest. */
  taken(bytes: number): void;
  /** The guest writes although the port is busy, and what it writes is lost. Told once. */
  overrun(): void;
}

/**
 * One serial port on the worker's side. Output is collected and sent once per slice of the guest's running; while more
 * than `maxOutstanding` bytes have not left the process the port says it is busy, as a slow line would, and the guest's
 * driver waits. A guest that does not look overruns it, as it would a real one: beyond `maxHeld` its bytes are lost. Input is given to v86 in small pieces as the guest reads it: its queue has no end of its own.
 */
const maxOutstanding = 256 * 1024;
/** Leaves room for what drivers write before they look again. */
export const maxHeld = 2 * maxOutstanding;
/** A real port has 16; more saves interrupts. */
const inputPiece = 64;
/** Line status register: transmitter holding register empty, and transmitter empty. */
const transmitterEmpty = 0x60;
/** Interrupt number of "transmitter holding register empty" in v86. */
const interruptEmpty = 2;
const dataReady = 1;

export class SerialPort {
  private output = new Uint8Array(4096);
  private used = 0;
  private outstanding = 0;
  private busy = false;
  private lost = 0;
  private owedInterrupt = false;
  private input: Uint8Array[] = [];
  private inputAt = 0;

  constructor(
    private readonly uart: V86Uart,
    private readonly line: SerialLine,
    private readonly isRunning: () => boolean,
  ) {
    const raise = uart.ThrowInterrupt.bind(uart);
    uart.ThrowInterrupt = (interrupt) => {
      if (interrupt === interruptEmpty && this.busy) this.owedInterrupt = true;
      else raise(interrupt);
    };
  }

  /** Bytes of output that were lost to an overrun. */
  get lostBytes(): number {
    return this.lost;
  }

  /** A byte the guest has written. */
  put(byte: number): void {
    if (this.used + this.outstanding >= maxHeld) {
      if (this.lost++ === 0) this.line.overrun();
      return;
    }
    if (this.used === this.output.length) {
      const grown = new Uint8Array(this.output.length * 2);
      grown.set(this.output);
      this.output = grown;
    }
    this.output[this.used++] = byte;
    if (!this.busy && this.used + this.outstanding > maxOutstanding) {
      this.busy = true;
      this.uart.lsr &= ~transmitterEmpty;
    }
  }

  /** Sends what has been collected and hands the guest what it can take. Cheap when there is nothing to do. */
  flush(): void {
    if (this.used > 0) {
      this.outstanding += this.used;
      this.line.send(this.output.slice(0, this.used));
      this.used = 0;
    }
    if (this.input.length > 0) this.feed();
  }

  drained(bytes: number): void {
    this.outstanding = Math.max(0, this.outstanding - bytes);
    if (this.busy && this.outstanding + this.used < maxOutstanding / 2) this.release();
  }

  receive(data: Uint8Array): void {
    this.input.push(data);
    this.feed();
  }

  /** What v86's own state leaves out: bytes the guest has not read yet. */
  save(): SerialState {
    if (this.busy) this.release();
    const waiting: number[] = [];
    this.input.forEach((chunk, index) => waiting.push(...chunk.subarray(index === 0 ? this.inputAt : 0)));
    return { fifo: [...this.uart.input], waiting };
  }

  restore({ fifo, waiting }: SerialState): void {
    this.uart.input = [...fifo];
    if (fifo.length === 0) this.uart.lsr &= ~dataReady;
    this.input = waiting.length > 0 ? [Uint8Array.from(waiting)] : [];
    this.inputAt = 0;
  }

  private release(): void {
    this.busy = false;
    this.uart.lsr |= transmitterEmpty;
    if (!this.owedInterrupt) return;
    this.owedInterrupt = false;
    this.uart.ThrowInterrupt(interruptEmpty);
  }

  private feed(): void {
    if (!this.isRunning()) return;
    let room = inputPiece - this.uart.input.length;
    let taken = 0;
    while (room > 0) {
      const chunk = this.input[0];
      if (!chunk) break;
      const from = this.inputAt;
      const count = Math.min(room, chunk.length - from);
      this.inputAt += count;
      if (this.inputAt === chunk.length) {
        this.input.shift();
        this.inputAt = 0;
      }
      room -= count;
      taken += count;
      for (let index = 0; index < count; index++) this.uart.data_received(chunk[from + index] ?? 0);
    }
    if (taken > 0) this.line.taken(taken);
  }
}
