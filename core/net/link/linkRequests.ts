import * as z from "zod";
import { Ipv4Text, MacAddress } from "../../contract/network";

/*
 * What the fabric asks of the privileged helper. Each request is one message, JSON, on a socket pair that only the two of
 * them hold; each answer is one, with the descriptor that was asked for beside it (SCM_RIGHTS).
 */

/** No longer message is read. */
export const maxMessageBytes = 4096;

/** The interfaces we make: only such are ever changed. 15 bytes are all the kernel allows. */
export const tapNamePattern = /^tt-[a-z0-9-]{1,12}$/;
/** An interface somebody else made (dev_valid_name in the kernel): no slash, colon or blank. */
const cardName = z.string().regex(/^(?!\.{1,2}$)[^\s/:\0]{1,15}$/, "this is no name of an interface");

export const LinkRequest = z.discriminatedUnion("do", [
  z.strictObject({
    do: z.literal("tap"),
    name: z.string().regex(tapNamePattern, "this is no name of an interface of Terrarium"),
    mac: MacAddress,
    mtu: z.number().int().min(576).max(65_521),
    /** The host's own address on it. */
    address: z.strictObject({ address: Ipv4Text, prefix: z.number().int().min(8).max(30) }).optional(),
    /** The Linux bridge that it becomes a port of. */
    bridge: cardName.optional(),
    /** It carries IPv4 only, and no address of its own. */
    plain: z.boolean().optional(),
  }),
  z.strictObject({ do: z.literal("card"), name: cardName }),
  z.strictObject({ do: z.literal("route"), tap: z.string().regex(tapNamePattern), address: Ipv4Text, source: Ipv4Text, there: z.boolean() }),
]);
export type LinkRequest = z.infer<typeof LinkRequest>;
export type TapRequest = Extract<LinkRequest, { do: "tap" }>;

export const LinkAnswer = z.union([
  z.object({ done: z.literal(true) }),
  /** `step` is what failed, for people; `reason` how the system calls the failure. */
  z.object({ done: z.literal(false), step: z.string(), reason: z.string() }),
]);
export type LinkAnswer = z.infer<typeof LinkAnswer>;
