/** Clusters in a piece. */
const pieceClusters = 2048;
/** Pieces of 8 KiB: half a gigabyte, for images of 8 TiB with clusters of 64 KiB. */
const mostPieces = 65536;

/** How often each cluster of a file is referred to. Takes memory for those only around which there are some. */
export class ReferenceCounts {
  private readonly pieces = new Map<number, Uint32Array>();

  constructor(private readonly cluster: number) {}

  /** Counts every cluster that the bytes touch. False when there would be too many to remember. */
  add(offset: number, bytes: number): boolean {
    if (bytes <= 0) return true;
    const last = Math.floor((offset + bytes - 1) / this.cluster);
    for (let cluster = Math.floor(offset / this.cluster); cluster <= last; cluster++) {
      const piece = this.piece(Math.floor(cluster / pieceClusters));
      if (!piece) return false;
      piece[cluster % pieceClusters]!++;
    }
    return true;
  }

  get(cluster: number): number {
    return this.pieces.get(Math.floor(cluster / pieceClusters))?.[cluster % pieceClusters] ?? 0;
  }

  /** The ranges of so many clusters in which any are referred to. */
  ranges(clusters: number): Set<number> {
    const ranges = new Set<number>();
    for (const [number, piece] of this.pieces) {
      const first = number * pieceClusters;
      for (let index = 0; index < pieceClusters; index++) if (piece[index] !== 0) ranges.add(Math.floor((first + index) / clusters));
    }
    return ranges;
  }

  /** One more than the last cluster that is referred to. */
  get end(): number {
    let last = -1;
    for (const number of this.pieces.keys()) last = Math.max(last, number);
    const piece = this.pieces.get(last);
    if (!piece) return 0;
    let index = pieceClusters;
    while (index > 0 && piece[index - 1] === 0) index--;
    return last * pieceClusters + index;
  }

  private piece(number: number): Uint32Array | undefined {
    let piece = this.pieces.get(number);
    if (!piece && this.pieces.size < mostPieces) this.pieces.set(number, (piece = new Uint32Array(pieceClusters)));
    return piece;
  }
}
