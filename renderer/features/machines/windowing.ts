import type { MachineInfo } from "../../../core/contract/model";

/** One line of the list: a group's head or a machine. Positions and heights in CSS pixels. */
export type ListRow =
  | { readonly kind: "group"; readonly key: string; readonly group: string; readonly count: number; readonly running: number; readonly folded: boolean; readonly top: number; readonly height: number }
  | { readonly kind: "machine"; readonly key: string; readonly machine: MachineInfo; readonly top: number; readonly height: number };

export const machineHeight = 48;
export const groupHeight = 26;
const groupGap = 5;

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Lays the list out: named groups first, then machines without one; inside a group by name. */
export function layOut(machines: Iterable<MachineInfo>, folded: ReadonlySet<string>, filter: string): { rows: ListRow[]; height: number } {
  const groups = new Map<string, MachineInfo[]>();
  const wanted = filter.trim().toLocaleLowerCase();
  for (const machine of machines) {
    if (wanted !== "" && !matches(machine, wanted)) continue;
    const group = machine.config?.group ?? "";
    const members = groups.get(group);
    if (members) members.push(machine);
    else groups.set(group, [machine]);
  }
  const rank = ranksOf([...groups.values()].flat().map((machine) => machine.name));
  const names = [...groups.keys()].sort((a, b) => (a === "" ? 1 : b === "" ? -1 : byName.compare(a, b)));
  const rows: ListRow[] = [];
  let top = 0;
  for (const name of names) {
    const members = groups.get(name)!.sort((a, b) => rank(a.name) - rank(b.name) || (a.id < b.id ? -1 : 1));
    const headed = name !== "" || names.length > 1;
    // What is searched for is shown even when its group is folded.
    const isFolded = headed && wanted === "" && folded.has(name);
    if (headed) {
      if (top > 0) top += groupGap;
      const running = members.filter((machine) => machine.state === "running").length;
      rows.push({ kind: "group", key: `group ${name}`, group: name, count: members.length, running, folded: isFolded, top, height: groupHeight });
      top += groupHeight;
    }
    if (isFolded) continue;
    for (const machine of members) {
      rows.push({ kind: "machine", key: machine.id, machine, top, height: machineHeight });
      top += machineHeight;
    }
  }
  return { rows, height: top };
}

let ranks: ReadonlyMap<string, number> = new Map();

/** The place of each name among all of them. The list is laid out with every change of a machine, and names rarely change. */
function ranksOf(names: readonly string[]): (name: string) => number {
  if (!names.every((name) => ranks.has(name))) {
    const sorted = [...new Set(names)].sort(byName.compare);
    let rank = 0;
    // Names that differ in capitals only have one rank.
    ranks = new Map(sorted.map((name, index) => [name, index > 0 && byName.compare(sorted[index - 1]!, name) !== 0 ? ++rank : rank]));
  }
  return (name) => ranks.get(name) ?? 0;
}

/** The machine that stood below `id` in the list of before and is still there, else the one above. */
export function neighbourOf(id: string, before: ReadonlyMap<string, MachineInfo>, now: ReadonlyMap<string, MachineInfo>): string | undefined {
  const order = layOut(before.values(), new Set(), "").rows.flatMap((row) => (row.kind === "machine" ? [row.key] : []));
  const at = order.indexOf(id);
  if (at < 0) return undefined;
  return order.slice(at + 1).find((other) => now.has(other)) ?? order.slice(0, at).reverse().find((other) => now.has(other));
}

/** The rows that touch the stretch from `from` to `to`, found by halving: rows are in order. */
export function rowsWithin(rows: readonly ListRow[], from: number, to: number): readonly ListRow[] {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle]!;
    if (row.top + row.height < from) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < rows.length && rows[end]!.top <= to) end++;
  return rows.slice(low, end);
}

function matches(machine: MachineInfo, wanted: string): boolean {
  return (
    machine.name.toLocaleLowerCase().includes(wanted) ||
    (machine.config?.group ?? "").toLocaleLowerCase().includes(wanted) ||
    machine.guest.addresses.some(({ address }) => address.includes(wanted))
  );
}
