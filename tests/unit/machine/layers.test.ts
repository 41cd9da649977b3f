import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Layers, type LayerList, type Merge } from "../../../core/machine/layers";

const list = (owner: string, ...layers: string[]): LayerList<string> => ({ owner, layers });

/** A disk with snapshots, as a model: what each layer holds, by block, and who sees which layers. */
class ModelDisk {
  readonly content = new Map<string, Map<number, number>>([["base", new Map()]]);
  readonly lists = new Map<string, string[]>([["now", ["base"]]]);
  private count = 0;

  get layers(): Layers<string> {
    return new Layers([...this.lists].map(([owner, layers]) => ({ owner, layers })));
  }

  read(owner: string): string {
    const seen = new Map<number, number>();
    for (const layer of this.lists.get(owner) ?? []) for (const [block, value] of this.content.get(layer) ?? []) seen.set(block, value);
    return JSON.stringify([...seen].sort(([a], [b]) => a - b));
  }

  write(block: number, value: number): void {
    this.content.get(this.lists.get("now")?.slice(-1)[0] ?? "")?.set(block, value);
  }

  take(): void {
    const frozen = this.lists.get("now") ?? [];
    this.lists.set(`snapshot ${this.count}`, frozen);
    this.grow(frozen);
  }

  restore(which: number): void {
    const snapshots = [...this.lists.keys()].filter((owner) => owner !== "now");
    const chosen = snapshots[which % snapshots.length];
    if (chosen !== undefined) this.grow(this.lists.get(chosen) ?? []);
  }

  forget(which: number): void {
    const snapshots = [...this.lists.keys()].filter((owner) => owner !== "now");
    const chosen = snapshots[which % snapshots.length];
    if (chosen !== undefined) this.lists.delete(chosen);
  }

  /** Merges the way it is done: first the content, then one list after the other, and last the file. `after` looks in between. */
  merge({ layer, into }: Merge, after: () => void): void {
    const upper = this.content.get(into) ?? new Map<number, number>();
    for (const [block, value] of this.content.get(layer) ?? []) if (!upper.has(block)) upper.set(block, value);
    after();
    for (const [owner, layers] of this.lists) {
      this.lists.set(owner, layers.filter((each) => each !== layer));
      after();
    }
    this.content.delete(layer);
    after();
  }

  private grow(frozen: string[]): void {
    const layer = `layer ${this.count++}`;
    this.content.set(layer, new Map());
    this.lists.set("now", [...frozen, layer]);
  }
}

const actions = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("write" as const), block: fc.nat(5), value: fc.nat(100) }),
    fc.record({ do: fc.constant("take" as const) }),
    fc.record({ do: fc.constantFrom("restore" as const, "forget" as const, "merge" as const), which: fc.nat(9) }),
  ),
  { maxLength: 30 },
);

describe("the layers of a home", () => {
  it("are needed as long as one list names them", () => {
    const layers = new Layers([list("a", "base", "1"), list("b", "base", "2")]);
    expect(layers.users("base")).toEqual(["a", "b"]);
    expect(layers.users("1")).toEqual(["a"]);
    expect(layers.orphans(["base", "1", "2", "3"])).toEqual(["3"]);
    expect(layers.neededOnlyBy((owner) => owner === "b")).toEqual(["2"]);
  });

  it("are merged only into the one layer on them, and never when somebody sees them as they are", () => {
    expect(new Layers([list("now", "base", "1", "2")]).mergeable()).toEqual([{ layer: "base", into: "1" }, { layer: "1", into: "2" }]);
    expect(new Layers([list("now", "base", "1", "2"), list("old", "base", "1")]).mergeable()).toEqual([{ layer: "base", into: "1" }]);
    expect(new Layers([list("now", "base", "1"), list("clone", "base", "2")]).mergeable()).toEqual([]);
  });

  it("read the same for everybody at every moment of every merge, and what is not needed is read by nobody", () => {
    fc.assert(
      fc.property(actions, (steps) => {
        const disk = new ModelDisk();
        for (const step of steps) {
          if (step.do === "write") disk.write(step.block, step.value);
          else if (step.do === "take") disk.take();
          else if (step.do === "restore") disk.restore(step.which);
          else if (step.do === "forget") disk.forget(step.which);
          else {
            const merges = disk.layers.mergeable();
            const merge = merges[step.which % Math.max(1, merges.length)];
            if (!merge) continue;
            const before = new Map([...disk.lists.keys()].map((owner) => [owner, disk.read(owner)]));
            disk.merge(merge, () => {
              for (const [owner, content] of before) expect(disk.read(owner)).toBe(content);
            });
          }
          const before = new Map([...disk.lists.keys()].map((owner) => [owner, disk.read(owner)]));
          for (const layer of disk.layers.orphans([...disk.content.keys()])) disk.content.delete(layer);
          for (const [owner, content] of before) expect(disk.read(owner)).toBe(content);
        }
        // With nobody else left, everything can be merged into one layer.
        for (const owner of [...disk.lists.keys()]) if (owner !== "now") disk.lists.delete(owner);
        const content = disk.read("now");
        for (let merge = disk.layers.mergeable()[0]; merge; merge = disk.layers.mergeable()[0]) disk.merge(merge, () => undefined);
        expect(disk.lists.get("now")).toHaveLength(1);
        expect(disk.read("now")).toBe(content);
      }),
    );
  });
});
