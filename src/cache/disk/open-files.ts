// Reads what is stored: files stay open for the next reader, and are checked before they are trusted.
import { statSync } from 'node:fs'
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Digest } from '../../oci/digest.ts'
import type { Content, Small } from '../cache.ts'
import { smallLimit, type Memory } from '../memory.ts'
import { drop, readerOf, warm, type OpenFile } from './open-file.ts'
import { createSingleFlight } from '../single-flight.ts'
import type { Store } from '../store.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import { createTrustedFiles } from './trusted-file.ts'

export interface Disk {
  /** undefined: not stored, or no longer. A large one must be closed. */
  content: (digest: Digest) => Content | undefined | Promise<Content | undefined>
  /** The same for a manifest, which is handed out as a whole whatever its size. */
  manifest: (digest: Digest) => Small | undefined | Promise<Small | undefined>
  /** It has just been written: what is read of it next is still in the page cache. */
  warm: (digest: Digest) => void
  close: () => void
}

export interface DiskOptions {
  store: Store
  index: TolerantIndex
  memory: Memory
  log: Logger
}

const maxOpenFiles = 128

export function createDisk({ store, index, memory, log }: DiskOptions): Disk {
  const share = createSingleFlight()
  const files = new LRUCache<Digest, OpenFile>({ max: maxOpenFiles, dispose: drop })
  const onExhausted = () => files.clear()
  const trusted = createTrustedFiles({ store, index, memory, log, onExhausted })

  /** An open file that is still what the store has under this digest. */
  function known(digest: Digest): OpenFile | undefined {
    const file = files.get(digest)
    if (file === undefined) return undefined
    const stat = statSync(store.pathOf(digest), { throwIfNoEntry: false })
    if (stat?.ino === file.inode && stat.size === file.size && stat.mtimeMs === file.mtime) {
      return file
    }
    files.delete(digest)
    return undefined
  }

  async function load(digest: Digest): Promise<OpenFile | Small | undefined> {
    const file = known(digest) ?? (await trusted.open(digest))
    if (file === undefined) return undefined
    if (file.size <= smallLimit) return trusted.load(file)
    files.set(digest, file)
    return file
  }

  async function content(digest: Digest): Promise<Content | undefined> {
    const found = await share(digest, async () => load(digest))
    if (found === undefined || 'kind' in found) return found
    return found.isDropped ? content(digest) : readerOf(found)
  }

  return {
    content(digest) {
      const small = memory.small(digest)
      if (small !== undefined) return small
      const file = known(digest)
      return file === undefined ? content(digest) : readerOf(file)
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
          if (found !== undefined && !('kind' in found)) warm(found)
        },
        () => undefined,
      )
    },
    close: () => files.clear(),
  }
}
