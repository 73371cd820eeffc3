// The index as the cache uses it: a failure of the database is told to the operator, not to clients.
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { Index } from './content-index.ts'
import { isDamage } from './database.ts'
import { createGatheredWrites, type GatheredWrites } from './gathered-writes.ts'
import type { LinkKind } from './links.ts'
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
  | 'setTag'
  | 'dropTag'
  | 'addEdges'
  | 'setReferrers'
  | 'hasFacts'

export interface TolerantIndex extends Pick<Index, Reads | Writes | 'hasChanged' | 'close'> {
  addLink: (place: Place, digest: Digest, kind: LinkKind) => void
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
  const writes = createGatheredWrites(current, (error) => {
    storageProblems.note(error, 'writing the index of the cache')
    return isDamage(error) && renew(true)
  })
  const { flush } = writes

  function tried<Result>(query: (index: Index) => Result, unknown: Result): Result {
    try {
      return query(current())
    } catch (error) {
      storageProblems.note(error, 'reading the index of the cache')
      if (!isDamage(error) || !renew(true)) return unknown
    }
    try {
      return query(current())
    } catch {
      return unknown
    }
  }

  return {
    ...readsOf(writes, tried),
    ...writesOf(writes),
    current() {
      flush()
      return current()
    },
    isVolatile: () => current().isVolatile,
    isProvisional: () => current().isProvisional,
    async settle() {
      if (!isInPlace(current())) renew(false)
      writes.catchUp()
      // What nothing can be written to is tried now and then only, see `keepIndex`.
      if (!current().isVolatile) await sync()
    },
    async sync() {
      flush()
      return sync()
    },
    replace: (because) => void renew(because === 'damaged', because === 'better'),
    close() {
      flush()
      storageProblems.guard('closing the index of the cache', () => current().close())
    },
  }
}

/** What a read and a write that waits for a moment may have in common. */
const rows = {
  content: (digest: Digest) => `content ${digest}`,
  link: (digest: Digest) => `link ${digest}`,
  edge: (digest: Digest) => `edge ${digest}`,
  tag: (name: string) => `tag ${name}`,
}

type Tried = <Result>(query: (index: Index) => Result, unknown: Result) => Result

/** Behind all that was written before: of certain rows, or of any. */
function readsOf(
  { flush, concern }: GatheredWrites,
  tried: Tried,
): Pick<TolerantIndex, Reads | 'hasChanged'> {
  function about<Result>(row: string, query: (index: Index) => Result, unknown: Result): Result {
    if (concern(row)) flush()
    return tried(query, unknown)
  }

  function all<Result>(query: (index: Index) => Result, unknown: Result): Result {
    flush()
    return tried(query, unknown)
  }

  return {
    content: (digest) => about(rows.content(digest), (index) => index.content(digest), undefined),
    isLinkedBy: (upstream, digest) =>
      about(rows.link(digest), (index) => index.isLinkedBy(upstream, digest), false),
    linkKinds: (place, digest) =>
      about(rows.link(digest), (index) => index.linkKinds(place, digest), []),
    tag: (place, name) => about(rows.tag(name), (index) => index.tag(place, name), undefined),
    childrenOf: (parent, kind) =>
      about(rows.edge(parent), (index) => index.childrenOf(parent, kind), []),
    parentsOf: (child, kind) =>
      about(rows.edge(child), (index) => index.parentsOf(child, kind), []),
    contents: (prefix) => all((index) => index.contents(prefix), []),
    tagsOf: (place) => all((index) => index.tagsOf(place), []),
    referrers: (place, digest) => all((index) => index.referrers(place, digest), undefined),
    upstreams: () => all((index) => index.upstreams(), []),
    repositories: (...part) =>
      all((index) => index.repositories(...part), { held: [], last: undefined }),
    lacksFacts: () => all((index) => index.lacksFacts(), false),
    hasChanged: () => all((index) => index.hasChanged(), false),
  }
}

/** In a moment, those of a pull; the rest at once. */
function writesOf({
  write,
  writeNow,
}: GatheredWrites): Pick<TolerantIndex, Writes | 'addLink' | 'together'> {
  return {
    addContent: (digest, ...facts) =>
      write([rows.content(digest)], (index) => index.addContent(digest, ...facts)),
    addLink: (place, digest, kind) =>
      write([rows.link(digest)], (index) => index.addLink(place, digest, kind)),
    addEdges: (parent, children, kind) =>
      write([parent, ...children].map(rows.edge), (index) =>
        index.addEdges(parent, children, kind),
      ),
    setTag: (place, name, ...means) =>
      write([rows.tag(name)], (index) => index.setTag(place, name, ...means)),
    hasFacts: () => writeNow((index) => index.hasFacts()),
    dropContent: (digest) => writeNow((index) => index.dropContent(digest)),
    touchContents: (accessed) => writeNow((index) => index.touchContents(accessed)),
    dropTag: (...tag) => writeNow((index) => index.dropTag(...tag)),
    together: (work) => writeNow((index) => index.transaction(() => work(index))),
    setReferrers: (...list) => writeNow((index) => index.setReferrers(...list)),
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
