// Finds what pruning is asked for, least recently pulled first; goes through the index in steps.
import { setImmediate } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import type { ImageGlob } from '../../rules/glob.ts'
import type { Index } from '../index/content-index.ts'
import type { Reference } from '../index/image-queries.ts'
import { namedRows } from './images.ts'
import { isDigestOf } from './removals.ts'

/** Which images are to go: those of which all that is given is true. At least one has to be. */
export interface PruneFilter {
  /** In the cache for longer than this, ms. */
  olderThan?: number | undefined
  /** Not pulled for longer than this, ms. */
  notPulledFor?: number | undefined
  match?: ImageGlob | undefined
  /** Without a tag, and content that is of no image. */
  untagged?: boolean | undefined
  /** No more than until the cache holds so many bytes. */
  to?: number | undefined
}

/** Stored content, and the names of it that are meant; none where it has none. */
export interface Candidate {
  digest: Digest
  names: Reference[]
  accessed: number
}

const stepRows = 200

export async function findCandidates(
  index: () => Index,
  filter: PruneFilter,
  now: number,
): Promise<Candidate[]> {
  const found = new Map<Digest, Candidate>()
  const isMeant = createJudge(filter, now)
  for await (const { created, accessed, digest, name } of rowsIn(index, filter.match)) {
    if (!isMeant({ created, accessed, name })) continue
    const candidate = found.get(digest) ?? { digest, accessed, names: [] }
    if (name !== undefined) candidate.names.push(name)
    found.set(digest, candidate)
  }
  return [...found.values()].sort((one, other) => one.accessed - other.accessed)
}

interface Row {
  digest: Digest
  created: number
  accessed: number
  name: Reference | undefined
}

/** All names of images, and without a pattern all that has no name. */
async function* rowsIn(index: () => Index, match: ImageGlob | undefined): AsyncGenerator<Row> {
  let cursor: string | undefined
  do {
    const page = namedRows(index(), cursor, match ?? (() => true), stepRows)
    for (const { digest, created, accessed, upstream, repository, reference } of page.rows) {
      yield { digest, created, accessed, name: { upstream, repository, reference } }
    }
    cursor = page.next
    await setImmediate()
  } while (cursor !== undefined)
  if (match !== undefined) return
  let roots = index().oldest(undefined, stepRows)
  while (roots.length > 0) {
    for (const { digest } of roots) {
      const facts = index().content(digest)
      if (facts === undefined || index().namesOf(digest).length > 0) continue
      yield { digest, created: facts.created, accessed: facts.accessed, name: undefined }
    }
    await setImmediate()
    roots = index().oldest(roots.at(-1), stepRows)
  }
}

/** Whether what is asked of images is true of one; `name` is undefined where it has none. */
function createJudge({ olderThan, notPulledFor, untagged }: PruneFilter, now: number) {
  return (image: { created: number; accessed: number; name: Reference | undefined }): boolean => {
    if (olderThan !== undefined && now - image.created <= olderThan) return false
    if (notPulledFor !== undefined && now - image.accessed <= notPulledFor) return false
    return untagged !== true || image.name === undefined || isDigestOf(image.name)
  }
}
