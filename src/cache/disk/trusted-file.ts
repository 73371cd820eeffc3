// Opens stored files, and takes those out of the way that are not what their name says.
import { close, fstatSync, open, read } from 'node:fs'
import { promisify } from 'node:util'
import type { Logger } from 'pino'
import { GatewayError, systemCode } from '../../errors.ts'
import { algorithmOf, digestOf, hexOf, type Digest } from '../../oci/digest.ts'
import type { Small } from '../cache.ts'
import type { Memory } from '../memory.ts'
import { drop, hashOf, type OpenFile } from './open-file.ts'
import type { Store } from '../store.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'

const closeFile = promisify(close)
const openFile = promisify(open)
const readFile = promisify(read)

export interface TrustedFiles {
  /** undefined: it is not stored, or was wrong. Hashes it unless the index knows it as it is. */
  open: (digest: Digest) => Promise<OpenFile | undefined>
  /** Reads all of it, hashes it, puts it into memory, and closes the file. */
  load: (file: OpenFile) => Promise<Small | undefined>
}

export interface TrustedFilesOptions {
  store: Store
  index: TolerantIndex
  memory: Memory
  log: Logger
  /** There are no descriptors left: close what nobody is using. */
  onExhausted: () => void
}

/** For what is in the index without a media type of its own. */
const blobType = 'application/octet-stream'

export function createTrustedFiles(options: TrustedFilesOptions): TrustedFiles {
  const { store, index, memory, log, onExhausted } = options

  /** undefined: there is none. */
  async function descriptorOf(digest: Digest): Promise<number | undefined> {
    try {
      return await openFile(store.pathOf(digest), 'r')
    } catch (error) {
      const code = systemCode(error)
      if (code === 'ENOENT') return undefined
      // Out of descriptors: those that nobody is using are given back for the next request.
      if (code === 'EMFILE' || code === 'ENFILE') onExhausted()
      log.error({ digest, err: error }, 'a cached file cannot be opened')
      throw new GatewayError('UNAVAILABLE', 'the cache cannot be read now; its log says why', {
        cause: error,
      })
    }
  }

  async function openTrusted(digest: Digest): Promise<OpenFile | undefined> {
    const fd = await descriptorOf(digest)
    if (fd === undefined) {
      if (index.content(digest) !== undefined) memory.forget(digest)
      return undefined
    }
    const file = describe(fd, digest)
    const facts = index.content(digest)
    if (facts?.size === file.size && facts.mtime === file.mtime) return file
    const isRight = await hashOf(fd, digest).then(
      (hex) => hex === hexOf(digest),
      () => false,
    )
    if (isRight) {
      memory.stored(digest, file)
      return file
    }
    drop(file)
    await quarantine(digest)
    return undefined
  }

  function describe(fd: number, digest: Digest): OpenFile {
    const { size, mtimeMs: mtime, ino: inode } = fstatSync(fd)
    const mediaType = index.content(digest)?.mediaType ?? blobType
    const state = { users: 0, isDropped: false, warm: 0, warmAt: 0 }
    return { digest, mediaType, fd, size, mtime, inode, ...state }
  }

  async function quarantine(digest: Digest): Promise<void> {
    log.warn({ digest }, 'a cached file does not hash to its name: quarantined, and fetched again')
    memory.forget(digest)
    await store.quarantine(digest).catch((error: unknown) => {
      log.warn(
        { digest, err: error },
        'the wrong file cannot be moved: it stays, but is not served',
      )
    })
  }

  async function load(file: OpenFile): Promise<Small | undefined> {
    const { digest, mediaType, size, fd } = file
    const bytes = Buffer.allocUnsafeSlow(size)
    const bytesRead = await readFile(fd, bytes, 0, size, 0).then(
      (result) => result.bytesRead,
      () => 0,
    )
    await closeFile(fd)
    if (bytesRead !== size || digestOf(bytes, algorithmOf(digest)) !== digest) {
      await quarantine(digest)
      return undefined
    }
    const small: Small = { kind: 'small', digest, mediaType, bytes }
    memory.keep(small)
    return small
  }

  return { open: openTrusted, load }
}
