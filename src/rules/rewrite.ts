// Gives repositories the names that their upstream has for them, by the `rewrite` rules of the config.
import type { Place } from '../oci/place.ts'
import { isRepositoryName } from '../oci/resource.ts'
import { GatewayError } from '../errors.ts'

export interface RewriteRule {
  from: string
  to: string
}

/**
 * Rewrites a place by the first rule of its upstream that matches the whole name. `*` stands for one
 * part of a name, `**` for one or more; what they took goes where `to` has the same one.
 * Throws GatewayError NAME_INVALID where what comes out is no name.
 */
export function createRewriter(
  upstreams: Readonly<Record<string, { rewrite?: readonly RewriteRule[] }>>,
): (place: Place) => Place {
  const rulesOf = new Map(
    Object.entries(upstreams).flatMap(([name, { rewrite = [] }]) =>
      rewrite.length === 0 ? [] : [[name, rewrite.map(compile)] as const],
    ),
  )
  if (rulesOf.size === 0) return (place) => place
  return (place) => {
    for (const rule of rulesOf.get(place.upstream) ?? []) {
      const repository = rule(place.repository)
      if (repository === undefined) continue
      // Whether it may have capitals is for others to say.
      if (isRepositoryName(repository, { capitals: true })) return { ...place, repository }
      throw new GatewayError('NAME_INVALID', 'the name of this repository is too long upstream')
    }
    return place
  }
}

/** What is wrong with a rule, as the end of a sentence about its `to`; undefined: nothing. */
export function ruleProblem({ from = '', to = '' }: Partial<RewriteRule>): string | undefined {
  const taken = wildcardsIn(from)
  if (taken.filter((wildcard) => wildcard === '**').length > 1) {
    return 'can take up one ** only: from has more of them'
  }
  if (taken.join(' ') === wildcardsIn(to).join(' ')) return undefined
  return 'must have the wildcards of from, in the same order: old/** becomes new/**'
}

function wildcardsIn(pattern: string): string[] {
  return pattern.match(/\*+/g) ?? []
}

function compile({ from, to }: RewriteRule): (name: string) => string | undefined {
  const parts = from
    .split(/(\*+)/)
    .map((part) =>
      part === '**' ? '(.+)' : part === '*' ? '([^/]+)' : part.replaceAll('.', String.raw`\.`),
    )
  const pattern = new RegExp(`^${parts.join('')}$`)
  return (name) => {
    const [match, ...taken] = pattern.exec(name) ?? []
    return match === undefined ? undefined : to.replaceAll(/\*+/g, () => taken.shift() ?? '')
  }
}
