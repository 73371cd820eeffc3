// Reads what is stored: files stay open for the next reader, and are checked before they are trusted.
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Digest } from '../../oci/digest.ts'
import type { CacheEvent, Content, Small } from '../cache.ts'
import { smallLimit, type Memory } from '../memory.ts'
import { createFileReaders, type CheckedFile, type FileReaders } from './file-readers.ts'
import { drop, isInPlace, warm, type OpenFile } from './open-file.ts'
import { createSingleFlight } from '../single-flight.ts'
import type { Store, Stored } from '../store.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import { createRemoval } from './removal.ts'
import { blobType, createTrustedFiles } from './trusted-file.ts'
import { createVerifiedFiles } from './verified-files.ts'

export interface Disk {
  /** undefined: not stored, or no longer. A large one must be closed. */
  content: (digest: Digest) => Content | undefined | Promise<Content | undefined>
  /** The same for a manifest, which is handed out as a whole whatever its size. */
  manifest: (digest: Digest) => Small | undefined | Promise<Small | undefined>
  /** It has just been written: what is read of it next is still in the page cache. */
  warm: (digest: Digest) => void
  /** Somebody else has read all of a file: whether it hashes to its name. */
  verified: (file: CheckedFile & Stored, isRight: boolean) => Promise<void>
  /** Somebody else was told by the file system that it cannot be read. */
  unreadable: FileReaders['unreadable']
  /** Somebody is reading it. */
  isRead: (digest: Digest) => boolean
  /** Its file was removed: gives its room back at once. */
  release: (digest: Digest) => void
  close: () => Promise<void>
}

export interface DiskOptions {
  store: Store
  index: TolerantIndex
  memory: Memory
  log: Logger
  /** Files that may stay open although nobody reads them. */
  maxOpenFiles: number
  /** How often a file is hashed again, ms; counted by `now`. */
  verifyEvery: number
  now: () => number
  onEvent: (event: CacheEvent) => void
}

/** For so long at most a file that was deleted keeps its room on the disk, ms. */
const lookEvery = 2000

export function createDisk(options: DiskOptions): Disk {
  const { store, index, memory, maxOpenFiles, verifyEvery, now } = options
  const share = createSingleFlight()
  let isClosed = false
  const files = new LRUCache<Digest, OpenFile>({ max: maxOpenFiles, dispose: drop })
  const verified = createVerifiedFiles(verifyEvery, now)
  const removal = createRemoval(options)
  const onExhausted = () => files.clear()
  const trusted = createTrustedFiles({ ...options, verified, removal, onExhausted })
  const readers = createFileReaders(verified, removal, (digest) => files.delete(digest))
  const timer = setInterval(() => {
    for (const [digest, file] of files.entries()) {
      if (!isInPlace(store.pathOf(digest), file)) files.delete(digest)
    }
  }, lookEvery).unref()

  /** An open file that is still what the store has under this digest. */
  function known(digest: Digest): OpenFile | undefined {
    const file = files.get(digest)
    if (file === undefined || isInPlace(store.pathOf(digest), file)) return file
    files.delete(digest)
    return undefined
  }

  async function load(digest: Digest): Promise<OpenFile | Small | undefined> {
    const file = known(digest) ?? (await trusted.open(digest))
    if (file === undefined) return undefined
    if (file.size <= smallLimit) return trusted.load(file)
    if (isClosed) {
      drop(file)
      return undefined
    }
    files.set(digest, file)
    return file
  }

  async function content(digest: Digest): Promise<Content | undefined> {
    const found = await share(digest, async () => load(digest))
    if (found === undefined || 'kind' in found) return found
    return found.isDropped ? content(digest) : readers.read(found)
  }

  return {
    content(digest) {
      const small = memory.small(digest)
      if (small !== undefined) return small
      const file = known(digest)
      return file === undefined ? content(digest) : readers.read(file)
    },
    manifest: (digest) =>
      memory.small(digest) ??
      share(`manifest ${digest}`, async () => {
        const file = await trusted.open(digest)
        return file === undefined ? undefined : trusted.load(file)
      }),
    warm(digest) {
      void share(digest, async () => load(digest)).then(
        (found) => {
          if (found === undefined || 'kind' in found) return
          // It was hashed as it came.
          verified.add(found)
          warm(found)
        },
        () => undefined,
      )
    },
    async verified(file, isRight) {
      const { digest, size, mtime } = file
      const facts = index.content(digest)
      const isKnown = facts?.size === size && facts.mtime === mtime
      // It may have been removed meanwhile.
      if (isRight && !isKnown && isInPlace(store.pathOf(digest), file)) {
        memory.stored(digest, { mediaType: facts?.mediaType ?? blobType, size, mtime })
      }
      await readers.verified(file, isRight)
    },
    unreadable: readers.unreadable,
    isRead: (digest) => (files.peek(digest)?.users ?? 0) > 0,
    release: (digest) => void files.delete(digest),
    async close() {
      clearInterval(timer)
      isClosed = true
      files.clear()
      await readers.close()
    },
  }
}
