import listing from "../../assets/probe/longMode.json";
import { KiB } from "../base/bytes";
import { err, ok, type Result } from "../base/result";

/*
 * The firmware image of the accelerator's probe, from its listing in assets/probe: what runs is what can be read there.
 */

/** How large a firmware image is, bytes: the least that QEMU takes for a PC. */
export const imageBytes = 64 * KiB;

/** What is between the lines of the listing: `hlt`, so that a processor that strays stops. */
const filler = 0xf4;
/** Where an x86 processor begins, in the image. */
const resetVector = 0xfff0;

/**
 * Assembles a listing: lines of `offset | bytes | instruction | remark`, the first two in hexadecimal, in ascending
 * order; empty lines and lines that begin with `;` are for readers.
 */
export function parseListing(lines: readonly string[]): Result<Uint8Array> {
  const image = new Uint8Array(imageBytes).fill(filler);
  let end = 0;
  let begins = false;
  for (const [index, line] of lines.entries()) {
    if (line === "" || line.startsWith(";")) continue;
    const at = `line ${index + 1}`;
    const match = /^([0-9a-f]{4}) \| ([0-9a-f]{2}(?: [0-9a-f]{2})*) *\|/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) return err(`${at}: expected \`offset | bytes | instruction | remark\``);
    const offset = parseInt(match[1], 16);
    const bytes = match[2].split(" ").map((pair) => parseInt(pair, 16));
    if (offset < end) return err(`${at}: offset ${match[1]} is taken, the line before reaches to ${end.toString(16)}`);
    if (offset + bytes.length > imageBytes) return err(`${at}: reaches beyond the image`);
    image.set(bytes, offset);
    end = offset + bytes.length;
    begins ||= offset === resetVector;
  }
  return begins ? ok(image) : err(`nothing is at ${resetVector.toString(16)}, where the processor begins`);
}

/** The image of the listing in assets. */
export function probeImage(): Uint8Array {
  const image = parseListing(listing.listing);
  if (!image.ok) throw new Error(`assets/probe/longMode.json, ${image.error}`);
  return image.value;
}
