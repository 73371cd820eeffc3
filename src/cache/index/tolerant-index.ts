// The index as the cache uses it: a failure of the database is told to the operator, not to clients.
import type { Index } from './content-index.ts'
import { isDamage } from './database.ts'
import type { StorageProblems } from '../storage-problems.ts'

type Reads =
  | 'content'
  | 'contents'
  | 'isLinkedBy'
  | 'linkKinds'
  | 'tag'
  | 'tagsOf'
  | 'childrenOf'
  | 'parentsOf'
  | 'referrers'
  | 'upstreams'
  | 'repositories'
  | 'lacksFacts'
type Writes =
  | 'addContent'
  | 'dropContent'
  | 'touchContents'
  | 'addLink'
  | 'setTag'
  | 'dropTag'
  | 'addEdges'
  | 'setReferrers'
  | 'hasFacts'

export interface TolerantIndex extends Pick<Index, Reads | Writes | 'hasChanged' | 'close'> {
  /** The index itself, for whoever has to know whether what it does comes true. */
  current: () => Index
  /** See `Index`. */
  isVolatile: () => boolean
  isProvisional: () => boolean
  /** All that `work` does, or nothing; not to be nested. */
  together: (work: (index: Index) => void) => void
  /** Writes what could not be written so far, and makes all of it durable. */
  settle: () => Promise<void>
  /** Makes durable what was written; false where it cannot be. */
  sync: () => Promise<boolean>
  /** It was found to be damaged, and is set aside; or there is a better one. */
  replace: (because: 'damaged' | 'better') => void
}

/** Opens the index anew, after the one before was closed; a damaged one is out of the way then. */
export type Reopen = (isDamaged: boolean) => Index

/** Writes that wait for a disk with room, or for another process to be done. */
const maxWaiting = 10_000
/** Where the disk damages one after the other, ms. */
const reopenEvery = 2000

/**
 * What cannot be read counts as unknown, so that the upstream is asked; what cannot be written is
 * written later, in the same order. Where `reopen` is given, an index that is damaged or whose file
 * is gone is replaced at once.
 */
export function createTolerantIndex(
  first: Index,
  storageProblems: StorageProblems,
  reopen?: Reopen,
): TolerantIndex {
  const { current, renew, sync } = createRenewal(first, storageProblems, reopen)
  const waiting: (() => void)[] = []

  function read<Args extends unknown[], Result>(query: (...args: Args) => Result, unknown: Result) {
    return (...args: Args): Result => {
      try {
        return query(...args)
      } catch (error) {
        storageProblems.note(error, 'reading the index of the cache')
        if (!isDamage(error) || !renew(true)) return unknown
      }
      try {
        return query(...args)
      } catch {
        return unknown
      }
    }
  }

  function write<Args extends unknown[]>(statement: (...args: Args) => void) {
    return (...args: Args): void => {
      waiting.push(() => statement(...args))
      if (waiting.length === 1) catchUp()
      else if (waiting.length > maxWaiting) waiting.shift()
    }
  }

  function catchUp(): void {
    try {
      for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
        next()
        waiting.shift()
      }
    } catch (error) {
      storageProblems.note(error, 'writing the index of the cache')
      if (isDamage(error) && renew(true)) catchUp()
    }
  }

  return {
    current,
    isVolatile: () => current().isVolatile,
    isProvisional: () => current().isProvisional,
    content: read((digest) => current().content(digest), undefined),
    contents: read((prefix) => current().contents(prefix), []),
    isLinkedBy: read((upstream, digest) => current().isLinkedBy(upstream, digest), false),
    linkKinds: read((place, digest) => current().linkKinds(place, digest), []),
    tag: read((place, name) => current().tag(place, name), undefined),
    tagsOf: read((place) => current().tagsOf(place), []),
    childrenOf: read((parent, kind) => current().childrenOf(parent, kind), []),
    parentsOf: read((child, kind) => current().parentsOf(child, kind), []),
    referrers: read((place, digest) => current().referrers(place, digest), undefined),
    upstreams: read(() => current().upstreams(), []),
    repositories: read((...part) => current().repositories(...part), { held: [], last: undefined }),
    lacksFacts: read(() => current().lacksFacts(), false),
    hasChanged: read(() => current().hasChanged(), false),
    hasFacts: write(() => current().hasFacts()),
    addContent: write((...facts) => current().addContent(...facts)),
    dropContent: write((digest) => current().dropContent(digest)),
    touchContents: write((accessed) => current().touchContents(accessed)),
    addLink: write((...link) => current().addLink(...link)),
    setTag: write((...tag) => current().setTag(...tag)),
    dropTag: write((...tag) => current().dropTag(...tag)),
    addEdges: write((...edges) => current().transaction(() => current().addEdges(...edges))),
    together: write((work) => current().transaction(() => work(current()))),
    setReferrers: write((...list) => current().setReferrers(...list)),
    async settle() {
      if (!isInPlace(current())) renew(false)
      catchUp()
      // What nothing can be written to is tried now and then only, see `keepIndex`.
      if (!current().isVolatile) await sync()
    },
    sync,
    replace: (because) => void renew(because === 'damaged', because === 'better'),
    close: () => storageProblems.guard('closing the index of the cache', () => current().close()),
  }
}

/** The index in use, and what puts another one in its place. */
function createRenewal(first: Index, storageProblems: StorageProblems, reopen?: Reopen) {
  let index = first
  let reopenedAt = -Infinity

  /** Whether there is another one now. */
  function renew(isDamaged: boolean, isWanted = false): boolean {
    const isTooSoon = !isWanted && performance.now() - reopenedAt < reopenEvery
    if (reopen === undefined || isTooSoon) return false
    reopenedAt = performance.now()
    // Another process may have put a better one there.
    const isIts = isInPlace(index)
    storageProblems.guard('closing the index of the cache', () => index.close())
    try {
      index = reopen(isDamaged && isIts)
      return true
    } catch (error) {
      storageProblems.note(error, 'opening the index of the cache')
      return false
    }
  }

  async function sync(): Promise<boolean> {
    try {
      await index.sync()
      return true
    } catch (error) {
      storageProblems.note(error, 'syncing the index of the cache')
      if (isDamage(error)) renew(true)
      return false
    }
  }

  return { current: () => index, renew, sync }
}

function isInPlace(index: Index): boolean {
  try {
    return index.isInPlace()
  } catch {
    // The folder cannot be looked into: then nothing can be made there either.
    return true
  }
}
