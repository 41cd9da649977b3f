import type { RateLimit } from "../../../../core/contract/network";

/* What an adapter may carry, as it is typed: megabits a second, empty for no limit. Pure. */

export interface RateDraft {
  readonly toGuest: string;
  readonly fromGuest: string;
}

const bitsOfMegabit = 1_000_000;
const leastBits = 8000;

export function rateDraftOf(rate: RateLimit | undefined): RateDraft {
  const text = (bits: number | undefined): string => (bits === undefined ? "" : String(bits / bitsOfMegabit));
  return { toGuest: text(rate?.toGuest), fromGuest: text(rate?.fromGuest) };
}

/** What `adapter.set` takes: null for no limit at all. Undefined when something is no figure. */
export function rateOf(draft: RateDraft): RateLimit | null | undefined {
  const [toGuest, fromGuest] = [bitsOf(draft.toGuest), bitsOf(draft.fromGuest)];
  if (toGuest === undefined || fromGuest === undefined) return undefined;
  if (toGuest === null && fromGuest === null) return null;
  return { ...(toGuest === null ? {} : { toGuest }), ...(fromGuest === null ? {} : { fromGuest }) };
}

export function rateFault(text: string): string | undefined {
  return bitsOf(text) === undefined ? "Give megabits a second, 0.008 at least, or nothing." : undefined;
}

function bitsOf(text: string): number | null | undefined {
  const typed = text.trim().replace(",", ".");
  if (typed === "") return null;
  if (!/^\d{1,6}(\.\d{1,6})?$/.test(typed)) return undefined;
  const bits = Math.round(Number(typed) * bitsOfMegabit);
  return bits < leastBits ? undefined : bits;
}
