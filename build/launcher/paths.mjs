// Where things lie: the checkout itself, what is made inside it, and the cache that all checkouts of a user share.

import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout this file belongs to. */
export const checkout = resolve(fileURLToPath(new URL("../..", import.meta.url)));

/** The bundles. */
export const outDirectory = join(checkout, "out");

/** What is made per checkout and is not a bundle; safe to delete. */
export const localCache = join(checkout, ".cache");

/** The starter guest, built by build/starter. */
export const guestDirectory = process.env.TERRARIUM_GUEST_DIR ?? join(localCache, "starter");

/** What is shared by all checkouts of this user; safe to delete. */
export function sharedCache(environment = process.env) {
  const base = environment.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(base, "terrarium");
}
