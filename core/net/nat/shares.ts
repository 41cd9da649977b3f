import type { Ipv4Address } from "../wire/addresses";

/** Whom something is counted for. Only whether two are the same one matters. */
export type Account = object;

/**
 * Guests share what is bounded. It is counted for the cable that a guest is on, not for its addresses, of which it may take
 * any number. What comes to it through port forwards has an account of its own: those outside must not take its place.
 */
export class Accounts {
  /** Of all whose cable nobody knows. */
  private readonly unknown: Account = {};
  private readonly incoming = new WeakMap<Account, Account>();

  /** @param cableOf what stands for the cable behind which an address is, always the same for the same one */
  constructor(private readonly cableOf: (guest: Ipv4Address) => Account | undefined) {}

  of(guest: Ipv4Address, direction: "out" | "in"): Account {
    const own = this.cableOf(guest) ?? this.unknown;
    if (direction === "out") return own;
    let incoming = this.incoming.get(own);
    if (incoming === undefined) this.incoming.set(own, (incoming = {}));
    return incoming;
  }
}
