// Removes from a bucket what has been judged: first it notes what will go, then go tags, what else names
// content, content, and last the hashes of its pieces.
import type { Digest } from '../../../oci/digest.ts'
import type { Place } from '../../../oci/place.ts'
import type { TagFacts } from '../../index/content-index.ts'
import type { Link } from '../../index/links.ts'
import { contentKey, digestIn, prunedKey, referrersKey, sharedLinkKey, tagKey } from '../layout.ts'
import { mostAtOnce, type ObjectStore } from '../object-store.ts'
import { inParallel, readTagAt, type BucketIndex } from './bucket-index.ts'
import type { Lease } from './lease.ts'
import { prunedBodies, recordsKept, recordTime } from './records.ts'

/** What is to go; each list begins with what stands above the rest. */
export interface Condemned {
  tags: (Place & TagFacts & { name: string })[]
  links: Link[]
  digests: Digest[]
}

export interface RemoverOptions {
  store: ObjectStore
  bucket: BucketIndex
  lease: Lease
  /** By the store's clock, ms since 1970. */
  now: number
  /** See `StorePruningOptions`. */
  grace: number
  tell: (sentence: string) => void
  signal: AbortSignal
}

export interface Remover {
  /** Rejects where a tag has moved meanwhile: then its image, and what goes with it, is still there. */
  remove: (condemned: Condemned) => Promise<void>
  /** Removes what is of no use without content, and old records of prunings. */
  tidy: () => Promise<void>
}

/** How long one removal may take, ms: well within the lease. */
const removalMs = 10_000

export function createRemover(options: RemoverOptions): Remover {
  const { store, bucket, lease, now, grace, tell, signal } = options
  /** Of the records of this pruning: a repository may be in several removals. */
  let parts = 0

  /** Whether all of them are gone. */
  async function removeKeys(keys: readonly string[]): Promise<boolean> {
    let isDone = true
    for (let at = 0; at < keys.length; at += mostAtOnce) {
      lease.assertHeld()
      const some = keys.slice(at, at + mostAtOnce)
      const limit = AbortSignal.any([signal, AbortSignal.timeout(removalMs)])
      for (const { key, reason } of await store.removeAll(some, limit)) {
        isDone = false
        tell(`${key} stays: ${reason}`)
      }
    }
    return isDone
  }

  /** Replicas wait: a tag that has moved was written by somebody who does not. */
  async function assertUnmoved(tags: Condemned['tags']): Promise<void> {
    await inParallel(
      tags.map((tag) => async () => {
        const found = await readTagAt(store, tag, tag.name, signal)
        if (found === undefined || found.digest === tag.digest) return
        const name = `${tag.upstream}/${tag.repository}:${tag.name}`
        throw new Error(
          `${name} has moved although replicas are to wait: is one of an older version? Nothing more is removed; try again`,
        )
      }),
    )
  }

  async function record(condemned: Condemned): Promise<void> {
    for (const { place, names } of namesByPlace(condemned)) {
      for (const body of prunedBodies(names)) {
        lease.assertHeld()
        const key = prunedKey(place, now, parts)
        parts += 1
        await store.put(key, body, { ifAbsent: false, signal })
      }
    }
  }

  return {
    async remove(condemned) {
      const { tags, links, digests } = condemned
      await assertUnmoved(tags)
      await record(condemned)
      const names = links.flatMap((link) => [
        sharedLinkKey(link, link.digest, link.kind),
        ...(link.kind === 'manifest' ? [referrersKey(link, link.digest)] : []),
      ])
      // What has kept a name keeps its content: the next pruning finds both.
      const isNameless =
        (await removeKeys(tags.map((tag) => tagKey(tag, tag.name)))) && (await removeKeys(names))
      if (isNameless) await removeKeys(digests.map(contentKey))
    },
    async tidy() {
      let keys = bucket.records.filter((key) => now - (recordTime(key) ?? now) > recordsKept)
      for await (const { key, modified } of store.list('hashes/', signal)) {
        const digest = digestIn(key)
        const isUsed = digest === undefined || bucket.index.content(digest) !== undefined
        if (!isUsed && now - modified >= grace) keys.push(key)
        if (keys.length < mostAtOnce) continue
        await removeKeys(keys)
        keys = []
      }
      await removeKeys(keys)
    },
  }
}

/** Digests and tags that each repository loses. */
function namesByPlace({ tags, links }: Condemned): Iterable<{ place: Place; names: string[] }> {
  const places = new Map<string, { place: Place; names: string[] }>()
  const add = ({ upstream, repository }: Place, name: string) => {
    const key = `${upstream}/${repository}`
    const found = places.get(key) ?? { place: { upstream, repository }, names: [] }
    found.names.push(name)
    places.set(key, found)
  }
  for (const tag of tags) add(tag, tag.name)
  for (const link of links) add(link, link.digest)
  return places.values()
}
