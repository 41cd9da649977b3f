import * as zlib from "node:zlib";
import type { Header } from "./format";

type Decompress = (packed: Uint8Array, options: { readonly maxOutputLength: number; readonly finishFlush: number }, done: (error: Error | null, plain: Uint8Array) => void) => void;

/** Node has zstd from 22.15 on. */
const zstd = (zlib as { zstdDecompress?: Decompress }).zstdDecompress;

export function canDecompress(method: Header["compression"]): boolean {
  return method === "zlib" || zstd !== undefined;
}

/**
 * The content of a compressed cluster (qcow2 spec, compression type): with zlib a raw deflate stream without a header.
 * @param packed may have bytes of other clusters behind its own
 * @throws Error when it does not decompress to exactly `cluster` bytes
 */
export async function decompress(method: Header["compression"], packed: Uint8Array, cluster: number): Promise<Uint8Array> {
  const run = method === "zlib" ? (zlib.inflateRaw as Decompress) : zstd;
  if (!run) throw new Error("zstd is not there");
  // Streams may stop at their last byte of content, without an end of their own.
  const finishFlush = method === "zlib" ? zlib.constants.Z_SYNC_FLUSH : 0;
  const plain = await new Promise<Uint8Array>((resolve, reject) => run(packed, { maxOutputLength: cluster, finishFlush }, (error, value) => (error ? reject(error) : resolve(value))));
  if (plain.length !== cluster) throw new Error(`it has ${plain.length} bytes instead of ${cluster}`);
  return plain;
}

/** Compressed clusters read last, so that a reader who goes through one piece by piece has it decompressed once. */
export class Decompressed {
  private readonly clusters = new Map<string, Promise<Uint8Array>>();

  constructor(private readonly most: number) {}

  /** @param key of the same content always the same */
  get(key: string, make: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const known = this.clusters.get(key);
    if (known) return known;
    const made = make();
    for (const oldest of this.clusters.keys()) {
      if (this.clusters.size < this.most) break;
      this.clusters.delete(oldest);
    }
    this.clusters.set(key, made);
    // What failed is tried again; whoever asked hears of the failure.
    made.catch(() => this.clusters.delete(key));
    return made;
  }
}
