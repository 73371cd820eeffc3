// How long a tag is served without asking again: one time for all, or by patterns of tags.
import { compileGlob, type Glob } from '../../rules/glob.ts'

/** In ms; by pattern, where `*` is what holds for tags that no other matches, and for lists. */
export type TagTtl = number | Readonly<Record<string, number>>

interface Rule {
  glob: Glob
  ttl: number
}

/**
 * The time for a tag. Of the patterns that match, the tag itself comes first, then the one with the
 * most characters beside its `*`, then the one that is written first.
 */
export function createTagTtls(): (ttl: TagTtl, tag: string) => number {
  /** By the map as the config has it, which a reload replaces. */
  const known = new WeakMap<object, Rule[]>()

  function rulesOf(map: Readonly<Record<string, number>>): Rule[] {
    const rules = known.get(map) ?? inOrder(map)
    known.set(map, rules)
    return rules
  }

  return (ttl, tag) => {
    if (typeof ttl === 'number') return ttl
    return rulesOf(ttl).find(({ glob }) => glob.matches(tag))?.ttl ?? 0
  }
}

/** That of lists. */
export function listTtl(ttl: TagTtl): number {
  return typeof ttl === 'number' ? ttl : (ttl['*'] ?? 0)
}

function inOrder(map: Readonly<Record<string, number>>): Rule[] {
  const weight = ({ glob: { text } }: Rule) =>
    text.includes('*') ? text.replaceAll('*', '').length : Number.POSITIVE_INFINITY
  return Object.entries(map)
    .map(([text, ttl]) => ({ glob: compileGlob(text, undefined), ttl }))
    .toSorted((one, other) => compare(weight(other), weight(one)))
}

/** Infinity less itself is no number. */
function compare(one: number, other: number): number {
  return one === other ? 0 : one - other
}
