/**
 * The entries in which every typed word occurs, best first: a word that begins the text counts more than one that
 * begins a word, and that more than one inside. Without words all of them, as they came.
 */
export function rank<T>(entries: readonly T[], typed: string, textOf: (entry: T) => string): T[] {
  const words = typed.toLocaleLowerCase().split(/\s+/).filter((word) => word !== "");
  if (words.length === 0) return [...entries];
  const scored: { entry: T; score: number }[] = [];
  for (const entry of entries) {
    const text = textOf(entry).toLocaleLowerCase();
    let score = 0;
    for (const word of words) {
      const at = text.indexOf(word);
      if (at < 0) {
        score = -1;
        break;
      }
      score += at === 0 ? 3 : /\W/.test(text[at - 1]!) ? 2 : 1;
    }
    if (score >= 0) scored.push({ entry, score });
  }
  // Sorting is stable: equals stay in the order in which they came.
  return scored.sort((a, b) => b.score - a.score).map(({ entry }) => entry);
}
