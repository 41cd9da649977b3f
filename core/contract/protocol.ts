import * as z from "zod";
import { ErrorShape } from "./errorShape";
import { HostEvent, StreamRequest } from "./procedures";

/**
 * The wire form of the contract on the host service's Unix socket: one JSON value per line, UTF-8.
 *
 * The client speaks first. Its first line is either a `Request` (then the connection carries requests, responses and,
 * once subscribed, events) or a `StreamRequest` (then one `StreamAnswer` comes back and, when it is ok, the rest of the
 * connection in both directions is the stream's raw bytes).
 */
export const maxLineBytes = 4 * 1024 * 1024;

export const Request = z.union([
  z.object({ id: z.number().int(), call: z.string(), input: z.unknown() }),
  z.object({ id: z.number().int(), subscribe: z.literal(true) }),
]);
export type Request = z.infer<typeof Request>;

export const Response = z.union([z.object({ id: z.number().int(), result: z.unknown() }), z.object({ id: z.number().int(), error: ErrorShape })]);
export type Response = z.infer<typeof Response>;

export const ServerLine = z.union([z.object({ event: HostEvent }), Response]);
export type ServerLine = z.infer<typeof ServerLine>;

export const StreamAnswer = z.union([z.object({ ok: z.literal(true) }), z.object({ error: ErrorShape })]);
export type StreamAnswer = z.infer<typeof StreamAnswer>;
export { StreamRequest };
