// The tier behind the disk that replicas share: an object store with content and with what is known of it.
// It makes no pull fail: what it cannot do is done without it, and written later.
import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Digest } from '../../oci/digest.ts'
import type { OpenUpstream } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import { descriptorOf } from '../lists/descriptors.ts'
import { objectIn } from '../lists/json-object.ts'
import type { TagFacts } from '../index/content-index.ts'
import type { LinkKind } from '../index/links.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { Memory } from '../memory.ts'
import type { Store } from '../store.ts'
import type { StorageProblems } from '../storage-problems.ts'
import {
  createStoreAccess,
  type StoreAccess,
  type StorePart,
  type UseOptions,
} from './store-access.ts'
import {
  contentKey,
  hashesKey,
  sharedLinkKey,
  quarantineKey,
  readLink,
  readTag,
  referrersKey,
  tagKey,
} from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import { createPause } from './pause.ts'
import { openQueue, type Task } from './queue.ts'
import { readBefore, type LinkAnswer } from './read-before.ts'
import { startComparing } from './sweep.ts'
import { createUploads } from './uploads.ts'

export interface SharedTier {
  /** As the upstream is; what has a digest comes from the store where that has it. */
  before: (openUpstream: OpenUpstream) => OpenUpstream
  /** The same memory; what it learns is written to the store. */
  watch: (memory: Memory) => Memory
  /** What a tag meant when an upstream was asked for it last; undefined where nobody knows. */
  tag: (place: Place, name: string) => Promise<TagFacts | undefined>
  /** The list as `Index` keeps it. */
  referrers: (
    place: Place,
    digest: Digest,
  ) => Promise<{ body: string; checkedAt: number } | undefined>
  /** A list of referrers was kept. */
  noteReferrers: (place: Place, digest: Digest) => void
  /** One sentence each; nothing when it is well. */
  problems: () => string[]
  /** Objects that wait to be written. */
  waiting: () => number
  /** What waits is written after the next start. */
  close: () => Promise<void>
}

export interface SharedTierOptions {
  remote: ObjectStore
  dir: string
  store: Store
  index: TolerantIndex
  storageProblems: StorageProblems
  log: Logger
  now: () => number
  /** A request to the store: `ok`, or the reason why not. */
  onRequest: (part: StorePart, result: string) => void
}

/** How long what is small may take while there is an upstream to ask, and where there is none, ms. */
const briefMs = 2000
const patientMs = 20_000
/** Names of objects that are known to be there, at most. */
const mostSeen = 100_000
/** How long what was wrong is not asked for again, ms, and how many of them are remembered. */
const damagedFor = 60_000
const mostDamaged = 1000
/** Checks of a tag that are closer than this are one, ms. */
const tagStep = 60_000

export function createSharedTier(options: SharedTierOptions): SharedTier {
  const { remote, dir, storageProblems } = options
  const access = createStoreAccess({ ...options, store: remote })
  const seen = new LRUCache<string, true>({ max: mostSeen })
  const queue = openQueue(join(dir, 'shared-queue'), (error) =>
    storageProblems.note(error, 'writing the queue of the shared store'),
  )
  const damage = createDamage(options, access, seen)
  const pause = createPause(remote, {
    onChange() {
      seen.clear()
      comparison.isOutdated()
    },
  })
  const { whenClear } = damage
  const uploads = createUploads({ ...options, access, queue, seen, whenClear, pause })
  const note = (task: Task): void => {
    if (queue.add(task)) uploads.wake()
    else comparison.isNeeded()
  }
  const comparison = startComparing({ ...options, access, seen, note, pause }, queue.size)
  const { linkOf, tag, referrers } = createKnowledge(options, access, seen)

  return {
    before: (openUpstream) =>
      readBefore({
        access,
        openUpstream,
        linkOf,
        isDamaged: damage.isThere,
        onDamage: damage.setAside,
        onMissing: (digest) => void seen.delete(contentKey(digest)),
      }),
    watch: (memory) => watchMemory(memory, note, (key) => seen.has(key), options.now),
    tag,
    referrers,
    noteReferrers: ({ upstream, repository }, digest) =>
      note({ do: 'referrers', upstream, repository, digest }),
    problems: () => [
      ...access.problems().map(({ message }) => `the shared store ${remote.name}: ${message}`),
      ...comparison.problems(),
    ],
    waiting: queue.size,
    async close() {
      comparison.stop()
      await uploads.close()
      remote.close()
    },
  }
}

type Seen = LRUCache<string, true>

/** What is known of places. */
function createKnowledge({ now }: SharedTierOptions, access: StoreAccess, seen: Seen) {
  const bytesAt = async (key: string, options: UseOptions) =>
    access.use('read', options, async (signal) => access.bytes(key, signal))

  const read = async (key: string): Promise<Buffer | undefined> =>
    (await bytesAt(key, { ms: briefMs }))?.value

  return {
    linkOf: async (
      place: Place,
      digest: Digest,
      kind: LinkKind,
      { isPatient }: { isPatient: boolean },
    ): Promise<LinkAnswer> => {
      const key = sharedLinkKey(place, digest, kind)
      const found = await bytesAt(key, { ms: isPatient ? patientMs : briefMs, isPatient })
      if (found === undefined) return 'away'
      const link = found.value === undefined ? undefined : readLink(found.value)
      if (link === undefined) {
        // Rules of the bucket may have removed both.
        for (const gone of [key, contentKey(digest)]) seen.delete(gone)
        return 'absent'
      }
      seen.set(key, true)
      return link
    },
    tag: async (place: Place, name: string): Promise<TagFacts | undefined> => {
      const bytes = await read(tagKey(place, name))
      const facts = bytes && readTag(bytes)
      // A clock that is ahead makes no tag last longer.
      return facts && { ...facts, checkedAt: Math.min(facts.checkedAt, now()) }
    },
    referrers: async (place: Place, digest: Digest) => {
      const bytes = await read(referrersKey(place, digest))
      const { body, checkedAt } = (bytes && objectIn(bytes)) ?? {}
      const listed = typeof body === 'string' ? valueIn(body) : undefined
      if (!Array.isArray(listed)) return undefined
      const entries = listed
        .map((entry) => descriptorOf(entry))
        .filter((entry) => entry !== undefined)
      return { body: JSON.stringify(entries), checkedAt: Number(checkedAt) || 0 }
    },
  }
}

/** What lies there and is wrong. */
function createDamage(
  { remote, log, now, onRequest }: SharedTierOptions,
  access: StoreAccess,
  seen: Seen,
) {
  const damaged = new LRUCache<Digest, Promise<void>>({ max: mostDamaged, ttl: damagedFor })

  async function move(digest: Digest): Promise<void> {
    try {
      await remote.move(contentKey(digest), quarantineKey(digest, now()))
      await remote.remove(hashesKey(digest))
    } catch (error) {
      access.failed('write', error)
    }
  }

  return {
    isThere: (digest: Digest) => damaged.has(digest) && !seen.has(contentKey(digest)),
    /** It has been moved. */
    whenClear: async (digest: Digest) => damaged.get(digest),
    setAside: (digest: Digest): void => {
      const message = `shared store ${remote.name}: content does not hash to its digest; set aside`
      log.warn({ digest }, message)
      onRequest('read', 'damaged')
      seen.delete(contentKey(digest))
      damaged.set(digest, move(digest))
    },
  }
}

/** The same memory; `note` hears what it learns. */
function watchMemory(
  memory: Memory,
  note: (task: Task) => void,
  isThere: (key: string) => boolean,
  now: () => number,
): Memory {
  const written = new LRUCache<string, TagFacts>({ max: mostSeen })
  return {
    ...memory,
    link(place, digest, kind) {
      if (memory.isLinked(place, digest, kind)) return
      memory.link(place, digest, kind)
      const { upstream, repository } = place
      note({ do: 'link', upstream, repository, digest, kind })
    },
    stored(digest, facts) {
      memory.stored(digest, facts)
      if (!isThere(contentKey(digest))) note({ do: 'content', digest })
    },
    setTag({ upstream, repository }, name, digest, checkedAt) {
      memory.setTag({ upstream, repository }, name, digest, checkedAt)
      // It came from there.
      if (checkedAt !== undefined) return
      const key = tagKey({ upstream, repository }, name)
      const before = written.get(key)
      const at = now()
      if (before?.digest === digest && at - before.checkedAt < tagStep) return
      written.set(key, { digest, checkedAt: at })
      note({ do: 'tag', upstream, repository, name, digest, checkedAt: at })
    },
    dropTag({ upstream, repository }, name) {
      memory.dropTag({ upstream, repository }, name)
      written.delete(tagKey({ upstream, repository }, name))
      note({ do: 'untag', upstream, repository, name, checkedAt: now() })
    },
  }
}

function valueIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
