/*
 * Which file of a disk is needed by whom. Nothing of this is kept: it follows from the lists of layers in machine.json, in
 * every snapshot.json, also of those in the trash, and in those of every other machine of the home. A layer that any list
 * names is needed, and one that is followed by another one in any list is never written to.
 *
 *   [base, a, b]   a snapshot                     base ─▶ a ─▶ b
 *   [base, a, c]   the machine as it is now                └─▶ c
 *
 * A layer can be merged into the only one above it: what is above then holds what both held, and a list that still names
 * both reads the same as one that names the upper one only. So lists can change one after the other.
 */

/** The disk of something that needs it. `layers` are absolute paths, the oldest first. */
export interface LayerList<Owner> {
  readonly owner: Owner;
  readonly layers: readonly string[];
}

export interface Merge {
  readonly layer: string;
  /** The one above, which holds both afterwards. */
  readonly into: string;
}

export class Layers<Owner> {
  private readonly listsOf = new Map<string, LayerList<Owner>[]>();
  private readonly above = new Map<string, Set<string>>();
  private readonly tops = new Set<string>();

  constructor(lists: readonly LayerList<Owner>[]) {
    for (const list of lists) {
      for (const [place, layer] of list.layers.entries()) {
        const known = this.listsOf.get(layer);
        if (known === undefined) this.listsOf.set(layer, [list]);
        else if (!known.includes(list)) known.push(list);
        const next = list.layers[place + 1];
        if (next === undefined) this.tops.add(layer);
        else this.above.set(layer, (this.above.get(layer) ?? new Set()).add(next));
      }
    }
  }

  /** Some list names it. */
  isNeeded(layer: string): boolean {
    return this.listsOf.has(layer);
  }

  /** Whose lists name it. */
  users(layer: string): Owner[] {
    return [...new Set((this.listsOf.get(layer) ?? []).map((list) => list.owner))];
  }

  /** The layers that lie directly on it. */
  children(layer: string): string[] {
    return [...(this.above.get(layer) ?? [])];
  }

  /** What of these files no list names. */
  orphans(files: readonly string[]): string[] {
    return files.filter((file) => !this.isNeeded(file));
  }

  /** What nobody would need if `owner` were gone. */
  neededOnlyBy(isOwner: (owner: Owner) => boolean): string[] {
    return [...this.listsOf].filter(([, lists]) => lists.every((list) => isOwner(list.owner))).map(([layer]) => layer);
  }

  /** The layers that can be merged into the one above: nobody wants to see them as they are, and only one lies on them. Each can be the next; afterwards one asks again. */
  mergeable(): Merge[] {
    const found: Merge[] = [];
    for (const layer of this.listsOf.keys()) {
      if (this.tops.has(layer)) continue;
      const [into, ...others] = this.children(layer);
      if (into !== undefined && others.length === 0) found.push({ layer, into });
    }
    return found;
  }
}
