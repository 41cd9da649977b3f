/*
 * A byte stream over a message port, with back-pressure. A port has no limit of its own: what is posted piles up until
 * the other side reads it. So each side lets at most `window` bytes be under way and goes on when the other has
 * acknowledged them. Both ends of main's ports speak this; it needs neither Node nor a page.
 *
 * On the port: an ArrayBuffer is data, `{ ack: bytes }` acknowledges, `{ end: true, error? }` is the last message.
 */
import type { ErrorData } from "../core/contract/errors";

/** Bytes one direction may have under way. A screen of 1024 x 768 is 3 MiB raw; it passes in a few turns. */
export const flowWindow = 1 << 20;

export type FlowMessage =
  | { readonly kind: "data"; readonly bytes: ArrayBuffer }
  | { readonly kind: "ack"; readonly bytes: number }
  | { readonly kind: "end"; readonly error?: ErrorData };

/** Reads what came from a port; undefined for anything that is not of this protocol. */
export function readFlowMessage(value: unknown): FlowMessage | undefined {
  if (value instanceof ArrayBuffer) return { kind: "data", bytes: value };
  if (typeof value !== "object" || value === null) return undefined;
  if ("ack" in value && Number.isSafeInteger(value.ack) && (value.ack as number) > 0) return { kind: "ack", bytes: value.ack as number };
  if ("end" in value && value.end === true) return "error" in value ? { kind: "end", error: value.error as ErrorData } : { kind: "end" };
  return undefined;
}

/** Counts what is under way in one direction. */
export class Credit {
  private underWay = 0;

  constructor(private readonly window: number = flowWindow) {}

  /** So many bytes may be sent now. */
  get free(): number {
    return Math.max(0, this.window - this.underWay);
  }

  spend(bytes: number): void {
    this.underWay += bytes;
  }

  giveBack(bytes: number): void {
    this.underWay = Math.max(0, this.underWay - bytes);
  }
}
