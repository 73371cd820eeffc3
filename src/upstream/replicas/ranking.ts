// Names an owner for each key among several replicas: rendezvous hashing. Pure.
import { createHash } from 'node:crypto'

/**
 * The members in the order in which they own `key`: the same for everybody who knows the same ones,
 * and where one goes, only what was its own moves.
 */
export function rank(members: readonly string[], key: string): string[] {
  return members
    .map((member) => ({ member, weight: weightOf(member, key) }))
    .sort((one, other) => other.weight - one.weight || (one.member < other.member ? -1 : 1))
    .map(({ member }) => member)
}

function weightOf(member: string, key: string): number {
  return createHash('sha256').update(`${member}\n${key}`).digest().readUIntBE(0, 6)
}

/**
 * What of a request has an owner: content by its digest, wherever it is asked for; anything else, such as
 * a tag, by its name.
 * @param resource what is asked below `/v2/<repository>/`
 */
export function ownedKey(upstream: string, repository: string, resource: string): string {
  const path = resource.split('?', 1)[0] ?? ''
  return digestAsked(path) ?? `${upstream}/${repository}/${path}`
}

/** The digest, where it is content that is asked for by one. */
export function digestAsked(resource: string): string | undefined {
  return /^(?:blobs|manifests)\/([^/:]+:[^/:]+)$/.exec(resource)?.[1]
}
