// Which known words someone may have meant by an unknown one.

/**
 * The candidates that `word` is a beginning of or begins with, else those at the smallest edit
 * distance, if that is at most a third of the word's length; none otherwise.
 */
export function nearestTo(word: string, candidates: readonly string[]): string[] {
  const lower = word.toLowerCase()
  const related = candidates.filter((candidate) => isPrefix(lower, candidate.toLowerCase()))
  if (related.length > 0) return related
  const distances = candidates.map((candidate) => distance(lower, candidate.toLowerCase()))
  const smallest = Math.min(...distances)
  if (smallest > Math.max(1, Math.floor(word.length / 3))) return []
  return candidates.filter((_, index) => distances[index] === smallest)
}

function isPrefix(one: string, other: string): boolean {
  const shorter = Math.min(one.length, other.length)
  return shorter >= 3 && one.slice(0, shorter) === other.slice(0, shorter)
}

/** Levenshtein distance, a row at a time. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [index, letter] of from.split('').entries()) {
    const next = [index + 1]
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (row[column - 1] ?? 0) + (letter === to[column - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
