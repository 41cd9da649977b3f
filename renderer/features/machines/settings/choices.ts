import type { ChoiceOption } from "../../../ui/Choice";

/** The options of a choice: what is offered, and what is chosen although the engine does not have it, so that it can be read. */
export function choicesOf<T extends string>(offered: readonly T[], names: Readonly<Record<T, string>>, chosen: T, notes: Partial<Record<T, string>> = {}): ChoiceOption<T>[] {
  const options: ChoiceOption<T>[] = offered.map((id) => ({ id, label: names[id], note: notes[id] }));
  if (!offered.includes(chosen)) options.push({ id: chosen, label: names[chosen], note: "The engine does not have it.", disabled: true });
  return options;
}
