// What a pruning has taken from a repository is written beside it: replicas that have it on their disks
// would bring it back at their next comparison.
import { readPlacedKey } from '../layout.ts'

/** For how long, ms: then it comes back where a replica has it still, for the next pruning to find. */
export const recordsKept = 90 * 24 * 3_600_000
/** Lines of one object: some 3 MiB. */
const mostLines = 40_000

/** What objects hold of the names, digests and tags, that a repository loses. */
export function* prunedBodies(names: readonly string[]): Generator<Buffer> {
  for (let from = 0; from < names.length; from += mostLines) {
    yield Buffer.from(`${names.slice(from, from + mostLines).join('\n')}\n`)
  }
}

/** When the names were pruned last, ms since 1970, of the records among `keys`. */
export async function readPruned(
  keys: Iterable<string>,
  read: (key: string) => Promise<Buffer | undefined>,
): Promise<Map<string, number>> {
  const pruned = new Map<string, number>()
  for (const key of keys) {
    const at = recordTime(key)
    if (at === undefined) continue
    const lines = (await read(key))?.toString().split('\n') ?? []
    for (const name of lines) {
      if (name !== '') pruned.set(name, Math.max(at, pruned.get(name) ?? 0))
    }
  }
  return pruned
}

/** ms since 1970; undefined: it is no record. */
export function recordTime(key: string): number | undefined {
  const { kind, name = '' } = readPlacedKey(key) ?? {}
  return kind === 'pruned' ? Number(/^\d+/.exec(name)?.[0] ?? Number.NaN) || undefined : undefined
}
