// Where verified content lives: files named by their digest, complete or not there at all.
import {
  close as closeCallback,
  fstatSync,
  fsync as fsyncCallback,
  openSync,
  renameSync,
  statSync,
  write as writeCallback,
} from 'node:fs'
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { GatewayError, ifThere, systemCode } from '../errors.ts'
import { algorithmOf, hasherFor, hexOf, type Digest } from '../oci/digest.ts'
import {
  newTemporary,
  prepareFolder,
  syncFolder,
  writeProblem,
  type Folder,
} from './disk/folder.ts'
import { modes } from './disk/private.ts'
import { moveAside, trimQuarantine } from './verification/quarantine.ts'
import { digestsBelow, prefixesIn, type Prefix } from './verification/stored-digests.ts'

const closeFile = promisify(closeCallback)
const fsync = promisify(fsyncCallback)
const write = promisify(writeCallback)

/** What the file system says of a stored file; a change of either is a reason to hash it again. */
export interface Stored {
  /** Bytes. */
  size: number
  /** Milliseconds since 1970, with fractions. */
  mtime: number
}

/** New content on its way into the store: invisible until `commit`. */
export interface Writer {
  append: (chunk: Buffer) => Promise<void>
  /** Verifies, syncs and publishes it. DIGEST_INVALID where the bytes are others than announced. */
  commit: () => Promise<Stored>
  /** Forgets it; does nothing after `commit`. */
  abort: () => Promise<void>
}

/** An open temporary file, for those who write and hash by themselves. */
export interface BlobDraft {
  fd: number
  /** Syncs the file and gives it its name. The caller has verified it, and closes the descriptor. */
  publish: () => Promise<Stored>
  /** Removes the file unless it is published. */
  discard: () => Promise<void>
}

export interface Store {
  folder: Folder
  pathOf: (digest: Digest) => string
  /** Bytes; undefined where it is not there. */
  size: (digest: Digest) => Promise<number | undefined>
  /** Must be closed. */
  open: (digest: Digest) => Promise<FileHandle | undefined>
  create: (digest: Digest) => Promise<Writer>
  /** Throws what the file system says. */
  draft: (digest: Digest) => BlobDraft
  remove: (digest: Digest) => Promise<void>
  /**
   * Takes it out at once; what is returned gives back its room. Throws what the file system says, but not
   * where it is not there.
   */
  takeOut: (digest: Digest) => () => Promise<void>
  /** Takes wrong content out of the way, and keeps it for whoever wants to know. */
  quarantine: (digest: Digest) => Promise<void>
  /** All that is stored, in no order; without what lies in folders that cannot be read. */
  digests: (onUnreadable?: (prefix: Prefix, error: unknown) => void) => AsyncIterable<Digest>
  /** Why nothing can be stored, such as `ENOSPC`; undefined where it can. */
  problem: () => Promise<string | undefined>
  /** The folder is in use no more: the next process that is alone in it cleans up. */
  close: () => void
}

/** Opens the store in the cache folder `dir`, which is created. Throws UsageError `cache.dir`. */
export function openStore(dir: string): Store {
  const { folder, presence } = prepareFolder(dir)
  void trimQuarantine(folder.quarantine)
  const pathOf = (digest: Digest) => pathIn(folder, digest)

  const draft = (digest: Digest) => createDraft(newTemporary(folder), pathOf(digest))
  return {
    folder,
    pathOf,
    size: async (digest) => (await ifThere(stat(pathOf(digest))))?.size,
    open: async (digest) => ifThere(open(pathOf(digest))),
    draft,
    create: async (digest) => createWriter(digest, draft(digest)),
    remove: async (digest) => rm(pathOf(digest), { force: true }),
    takeOut(digest) {
      // Whoever is killed before it is gone leaves it where the next start cleans up.
      const target = newTemporary(folder)
      try {
        renameSync(pathOf(digest), target)
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error
      }
      return async () => rm(target, { force: true, recursive: true })
    },
    async quarantine(digest) {
      const target = join(
        folder.quarantine,
        `${algorithmOf(digest)}-${hexOf(digest)}-${Date.now()}`,
      )
      await ifThere(moveAside(pathOf(digest), target))
      await trimQuarantine(folder.quarantine)
    },
    digests: (onUnreadable = () => undefined) => digestsIn(folder, onUnreadable),
    problem: async () => writeProblem(folder),
    close: () => presence?.leave(),
  }
}

/** `blobs/<alg>/<2 hex>/<hex>` */
export function pathIn({ blobs }: Folder, digest: Digest): string {
  const hex = hexOf(digest)
  return join(blobs, algorithmOf(digest), hex.slice(0, 2), hex)
}

function createDraft(temporary: string, target: string): BlobDraft {
  const before = statSync(target, { throwIfNoEntry: false })?.ino
  const fd = openSync(temporary, 'wx+', modes.file)
  let isPublished = false
  return {
    fd,
    async publish() {
      const { size, mtimeMs } = fstatSync(fd)
      // What another process has stored there meanwhile is as right as this.
      const now = statSync(target, { throwIfNoEntry: false })
      if (now !== undefined && now.ino !== before && now.size === size) {
        await rm(temporary, { force: true })
        return { size, mtime: now.mtimeMs }
      }
      await fsync(fd)
      await renameInto(temporary, target)
      isPublished = true
      await syncFolder(dirname(target))
      return { size, mtime: mtimeMs }
    },
    async discard() {
      if (!isPublished) await rm(temporary, { force: true })
    },
  }
}

/** The folder of the target is nearly always there: it is made only where it is not. */
async function renameInto(source: string, target: string): Promise<void> {
  try {
    await rename(source, target)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    const parent = dirname(target)
    const made = await mkdir(parent, { recursive: true, mode: modes.folder })
    if (made !== undefined) await syncNewFolders(made, parent)
    await rename(source, target)
  }
}

function createWriter(digest: Digest, draft: BlobDraft): Writer {
  const hash = hasherFor(digest)
  let position = 0
  let isOver = false

  async function end(): Promise<void> {
    if (isOver) return
    isOver = true
    await closeFile(draft.fd)
    await draft.discard()
  }

  return {
    async append(chunk) {
      hash.update(chunk)
      for (let done = 0; done < chunk.length;) {
        const { bytesWritten } = await write(draft.fd, chunk, done, chunk.length - done, position)
        done += bytesWritten
        position += bytesWritten
      }
    },
    async commit() {
      try {
        if (hash.digest('hex') !== hexOf(digest)) {
          throw new GatewayError('DIGEST_INVALID', `the content does not hash to ${digest}`)
        }
        return await draft.publish()
      } finally {
        await end()
      }
    },
    abort: end,
  }
}

/** @param first the outermost one that was made, as `mkdir` tells it */
async function syncNewFolders(first: string, last: string): Promise<void> {
  for (let path = last; path.length >= first.length; path = dirname(path)) {
    await syncFolder(dirname(path))
  }
}

async function* digestsIn(
  { blobs }: Folder,
  onUnreadable: (prefix: Prefix, error: unknown) => void,
): AsyncIterable<Digest> {
  for (const prefix of await prefixesIn(blobs)) {
    try {
      yield* await digestsBelow(blobs, prefix)
    } catch (error) {
      onUnreadable(prefix, error)
    }
  }
}
