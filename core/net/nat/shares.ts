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

/** What there is of a bounded kind, and whose it is; each account's in order of age. When there is too much, who has the most gives way. */
export class Shares<T extends { readonly account: Account }> {
  private readonly byAccount = new Map<Account, Set<T>>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  heldBy(account: Account): number {
    return this.byAccount.get(account)?.size ?? 0;
  }

  /** Adds what is not here yet. */
  add(item: T): void {
    const held = this.byAccount.get(item.account);
    if (held?.has(item) === true) return;
    this.count++;
    if (held === undefined) this.byAccount.set(item.account, new Set([item]));
    else held.add(item);
  }

  delete(item: T): void {
    const held = this.byAccount.get(item.account);
    if (held?.delete(item) !== true) return;
    this.count--;
    if (held.size === 0) this.byAccount.delete(item.account);
  }

  /** Makes it the youngest of its account. */
  renew(item: T): void {
    const held = this.byAccount.get(item.account);
    if (held?.delete(item) === true) held.add(item);
  }

  /** The account that has the most; of several, the one that asks. There are no more of them than cables. */
  greatest(asking: Account): Account {
    let greatest = asking;
    let most = this.heldBy(asking);
    for (const [account, { size }] of this.byAccount) if (size > most) [greatest, most] = [account, size];
    return greatest;
  }

  oldestOf(account: Account): T | undefined {
    for (const item of this.byAccount.get(account) ?? []) return item;
    return undefined;
  }

  of(account: Account): Iterable<T> {
    return this.byAccount.get(account) ?? [];
  }
}
