/** Farther apart, and it is not a slip of the pen. */
const DISTANCE_MAX = 3;

/** Long enough for every name there is; the work is bounded by it. */
const LENGTH_MAX = 64;

/** The candidate that somebody who wrote `text` most likely meant, or undefined when none is close. */
export function suggest(text: string, candidates: readonly string[]): string | undefined {
  if (text.length > LENGTH_MAX) return undefined;
  const plainText = plain(text);
  let best: string | undefined;
  let bestDistance = Math.min(DISTANCE_MAX, Math.floor(plainText.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = distanceOf(plainText, plain(candidate));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** camelCase, snake_case and kebab-case of one name are the same. */
function plain(text: string): string {
  return text.replace(/[-_ ]/g, '').toLowerCase();
}

/** Letters that have to be put in, taken out or changed. [Levenshtein] */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
