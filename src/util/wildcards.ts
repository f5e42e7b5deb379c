/**
 * True when a text fits a pattern in which `*` stands for any characters and `?` for one; a backslash takes that meaning
 * from what follows it. In time proportional to the product of their lengths at worst.
 */
export function matchesWildcards(pattern: string, text: string): boolean {
  let [at, textAt, starAt, resumeAt] = [0, 0, -1, 0];
  while (textAt < text.length) {
    const isEscaped = pattern[at] === '\\' && at + 1 < pattern.length;
    const wanted = isEscaped ? pattern[at + 1] : pattern[at];
    if (!isEscaped && wanted === '*') {
      starAt = at;
      resumeAt = textAt;
      at += 1;
    } else if (wanted === text[textAt] || (!isEscaped && wanted === '?')) {
      at += isEscaped ? 2 : 1;
      textAt += 1;
    } else if (starAt >= 0) {
      // The last asterisk takes one character more.
      at = starAt + 1;
      resumeAt += 1;
      textAt = resumeAt;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at >= pattern.length;
}
