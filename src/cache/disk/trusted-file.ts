// Opens stored files, and takes those out of the way that are not what their name says.
import { close, constants, fstatSync, open, read } from 'node:fs'
import { promisify } from 'node:util'
import type { Logger } from 'pino'
import { GatewayError, systemCode } from '../../errors.ts'
import { algorithmOf, digestOf, hexOf, type Digest } from '../../oci/digest.ts'
import type { Small } from '../cache.ts'
import type { Memory } from '../memory.ts'
import { drop, hashOf, isInPlace, type OpenFile } from './open-file.ts'
import type { Store } from '../store.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { Removal } from './removal.ts'
import type { VerifiedFiles } from './verified-files.ts'

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
  verified: VerifiedFiles
  removal: Removal
  /** There are no descriptors left: close what nobody is using. */
  onExhausted: () => void
}

/** For what is in the index without a media type of its own. */
export const blobType = 'application/octet-stream'
/** Not what a link points to; and what is no file must not block whoever opens it. */
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export function createTrustedFiles(options: TrustedFilesOptions): TrustedFiles {
  const { store, index, memory, log, verified, removal, onExhausted } = options
  const { quarantine, setAside } = removal

  /** undefined: there is none that can be read. */
  async function descriptorOf(digest: Digest, isRetry = false): Promise<number | undefined> {
    try {
      return await openFile(store.pathOf(digest), flags)
    } catch (error) {
      const code = systemCode(error)
      if (code === 'ENOENT') {
        if (index.content(digest) !== undefined) memory.forget(digest)
        return undefined
      }
      if (code !== 'EMFILE' && code !== 'ENFILE') {
        await setAside(digest, error)
        return undefined
      }
      // Out of descriptors: those that nobody is using are given back first.
      onExhausted()
      if (!isRetry) return descriptorOf(digest, true)
      log.error({ digest, err: error }, 'no descriptor is left for a cached file')
      throw new GatewayError('UNAVAILABLE', 'the gateway has too many files open; ask again', {
        cause: error,
      })
    }
  }

  async function openTrusted(digest: Digest): Promise<OpenFile | undefined> {
    const fd = await descriptorOf(digest)
    if (fd === undefined) return undefined
    const file = await describe(fd, digest)
    if (file === undefined) return undefined
    const facts = index.content(digest)
    if (facts?.size === file.size && facts.mtime === file.mtime) return file
    try {
      if ((await hashOf(fd, digest)) === hexOf(digest)) {
        // It may have been removed meanwhile.
        if (isInPlace(store.pathOf(digest), file)) memory.stored(digest, file)
        verified.add(file)
        return file
      }
      await quarantine(digest)
    } catch (error) {
      await setAside(digest, error)
    }
    drop(file)
    return undefined
  }

  async function describe(fd: number, digest: Digest): Promise<OpenFile | undefined> {
    const stat = fstatSync(fd)
    if (!stat.isFile()) {
      await closeFile(fd)
      await setAside(digest, new Error('it is no file'))
      return undefined
    }
    const { size, mtimeMs: mtime, ino: inode } = stat
    const mediaType = index.content(digest)?.mediaType ?? blobType
    const state = { users: 0, isDropped: false, warm: 0, warmAt: 0 }
    return { digest, mediaType, fd, size, mtime, inode, ...state }
  }

  async function load(file: OpenFile): Promise<Small | undefined> {
    const { digest, mediaType, size, fd } = file
    const bytes = Buffer.allocUnsafeSlow(size)
    try {
      const { bytesRead } = await readFile(fd, bytes, 0, size, 0)
      if (bytesRead !== size || digestOf(bytes, algorithmOf(digest)) !== digest) {
        await quarantine(digest)
        return undefined
      }
    } catch (error) {
      await setAside(digest, error)
      return undefined
    } finally {
      await closeFile(fd)
    }
    const small: Small = { kind: 'small', digest, mediaType, bytes }
    memory.keep(small)
    return small
  }

  return { open: openTrusted, load }
}
