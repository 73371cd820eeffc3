// One pass over all that is stored: each file is read as a whole, hashed, and judged by its name.
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { messageOf, systemCode } from '../../errors.ts'
import { hasherFor, hexOf, type Digest } from '../../oci/digest.ts'
import type { Disk } from '../disk/open-files.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { Memory } from '../memory.ts'
import type { Store } from '../store.ts'
import { digestsBelow, prefixes, type Prefix } from './stored-digests.ts'

/** What is wrong with one file, or with a folder of them. */
export interface Flaw {
  /** A digest, or what the digests in a folder begin with, such as `sha256:0f`. */
  name: Prefix
  /** It does not hash to its name; it cannot be read; the index has it, and the folder does not. */
  flaw: 'wrong' | 'unreadable' | 'missing'
  /** What the file system says of what is unreadable. */
  reason?: string
}

export interface PassOptions {
  store: Store
  index: TolerantIndex
  memory: Memory
  disk: Disk
  /** Bytes a second. */
  rate: number
  /** Ends it, between two reads. */
  signal: AbortSignal
  /** Where an earlier one has got to. */
  after?: Prefix | undefined
  onRead: (bytes: number) => void
  onFile: () => void
  onFinding: (finding: Flaw) => void
  /** All that begins so has been looked at. */
  onDone: (prefix: Prefix) => void
}

/** Small enough to be hashed between two requests: 0.2 to 0.6 ms. */
const pieceBytes = 256 * 1024
/** Not what a link points to; and what is no file must not block whoever opens it. */
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** Until somebody may have closed a file, where the process has too many open, ms. */
const untilClosed = 1000

/** Takes out of the way what is wrong or cannot be read, so that it is fetched again when it is asked for. */
export async function verifyAll(options: PassOptions): Promise<void> {
  const { store, index, signal, after, onFinding, onDone } = options
  const piece = Buffer.allocUnsafeSlow(pieceBytes)
  const paced = pacer(options.rate, signal)
  const done = after === undefined ? 0 : prefixes.indexOf(after) + 1
  for (const prefix of prefixes.slice(done)) {
    const known = index.contents(prefix).map(({ digest }) => digest)
    const stored = await digestsBelow(store.folder.blobs, prefix).catch((error: unknown) => {
      if (known.length === 0) {
        onFinding({ name: prefix, flaw: 'unreadable', reason: systemCode(error) })
      }
      return []
    })
    for (const digest of new Set([...known, ...stored])) {
      if (signal.aborted) return
      const finding = await verifyFile(options, digest, piece, paced)
      if (finding !== undefined) onFinding(finding)
    }
    if (signal.aborted) return
    onDone(prefix)
  }
}

type Paced = (bytes: number) => Promise<void>

/** Waits as long as `bytes` take at the rate; what was lost by waiting longer is not caught up on. */
function pacer(rate: number, signal: AbortSignal): Paced {
  let due = performance.now()
  return async (bytes) => {
    const now = performance.now()
    due = Math.max(due, now) + (bytes / rate) * 1000
    await pause(due - now, signal)
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // A timer is not worth it for less.
  if (ms >= 4) await setTimeout(ms, undefined, { signal, ref: false }).catch(() => undefined)
}

async function verifyFile(
  options: PassOptions,
  digest: Digest,
  piece: Buffer,
  paced: Paced,
): Promise<Flaw | undefined> {
  const { store, disk, signal, onFile } = options
  let file: FileHandle | undefined
  try {
    file = await open(store.pathOf(digest), flags)
    const stat = await file.stat()
    if (!stat.isFile()) throw new Error('it is no file')
    const hash = await hashPaced(options, file, digest, piece, paced)
    if (hash === undefined) return undefined
    onFile()
    const { size, mtimeMs: mtime, ino: inode } = stat
    const isRight = hash === hexOf(digest)
    await disk.verified({ digest, size, mtime, inode }, isRight)
    return isRight ? undefined : { name: digest, flaw: 'wrong' }
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT') return missing(options, digest)
    if (code === 'EMFILE' || code === 'ENFILE') {
      await pause(untilClosed, signal)
      return signal.aborted ? undefined : await verifyFile(options, digest, piece, paced)
    }
    await disk.unreadable(digest, error)
    return { name: digest, flaw: 'unreadable', reason: messageOf(error) }
  } finally {
    await file?.close()
  }
}

/** Unless the index has forgotten it meanwhile, as it does of what is removed. */
function missing({ index, memory }: PassOptions, digest: Digest): Flaw | undefined {
  if (index.content(digest) === undefined) return undefined
  memory.forget(digest)
  return { name: digest, flaw: 'missing' }
}

/** In hex; undefined where it is not wanted any more. */
async function hashPaced(
  { signal, onRead }: PassOptions,
  file: FileHandle,
  digest: Digest,
  piece: Buffer,
  paced: Paced,
): Promise<string | undefined> {
  const hash = hasherFor(digest)
  for (let position = 0; !signal.aborted;) {
    const { bytesRead } = await file.read(piece, 0, pieceBytes, position)
    if (bytesRead === 0) return hash.digest('hex')
    hash.update(piece.subarray(0, bytesRead))
    position += bytesRead
    onRead(bytesRead)
    await paced(bytesRead)
  }
  return undefined
}
