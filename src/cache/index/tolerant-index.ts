// The index as the cache uses it: a failure of the database is told to the operator, not to clients.
import type { Index } from './content-index.ts'
import type { StorageProblems } from '../storage-problems.ts'

type Reads =
  | 'content'
  | 'isLinkedBy'
  | 'linkKinds'
  | 'tag'
  | 'tagsOf'
  | 'childrenOf'
  | 'parentsOf'
  | 'referrers'
  | 'repositories'
type Writes =
  | 'addContent'
  | 'dropContent'
  | 'touchContents'
  | 'addLink'
  | 'setTag'
  | 'dropTag'
  | 'addEdges'
  | 'setReferrers'

export interface TolerantIndex extends Pick<
  Index,
  Reads | Writes | 'isVolatile' | 'hasChanged' | 'close'
> {
  /** Writes what could not be written so far, and makes all of it durable. */
  settle: () => Promise<void>
}

/** Writes that wait for a disk with room, or for another process to be done. */
const maxWaiting = 10_000

/**
 * What cannot be read counts as unknown, so that the upstream is asked; what cannot be written is
 * written later, in the same order.
 */
export function createTolerantIndex(index: Index, storageProblems: StorageProblems): TolerantIndex {
  const waiting: (() => void)[] = []

  function read<Args extends unknown[], Result>(query: (...args: Args) => Result, unknown: Result) {
    return (...args: Args): Result => {
      try {
        return query(...args)
      } catch (error) {
        storageProblems.note(error, 'reading the index of the cache')
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
    storageProblems.guard('writing the index of the cache', () => {
      for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
        next()
        waiting.shift()
      }
    })
  }

  return {
    isVolatile: index.isVolatile,
    content: read(index.content, undefined),
    isLinkedBy: read(index.isLinkedBy, false),
    linkKinds: read(index.linkKinds, []),
    tag: read(index.tag, undefined),
    tagsOf: read(index.tagsOf, []),
    childrenOf: read(index.childrenOf, []),
    parentsOf: read(index.parentsOf, []),
    referrers: read(index.referrers, undefined),
    repositories: read(index.repositories, []),
    hasChanged: read(index.hasChanged, false),
    addContent: write(index.addContent),
    dropContent: write(index.dropContent),
    touchContents: write(index.touchContents),
    addLink: write(index.addLink),
    setTag: write(index.setTag),
    dropTag: write(index.dropTag),
    addEdges: write((...edges) => index.transaction(() => index.addEdges(...edges))),
    setReferrers: write(index.setReferrers),
    async settle() {
      catchUp()
      await index.sync().catch((error: unknown) => {
        storageProblems.note(error, 'syncing the index of the cache')
      })
    },
    close: () => storageProblems.guard('closing the index of the cache', index.close),
  }
}
