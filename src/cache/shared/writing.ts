// Writes one object to the shared store after the other: content before what names it, and what is below
// an image before the image, so that nothing that has a name there lacks its content.
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import type { Logger } from 'pino'
import { algorithmOf, hasherFor, type Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import { createSingleFlight } from '../single-flight.ts'
import type { Store } from '../store.ts'
import type { Pause } from './pause.ts'
import type { StoreAccess } from './store-access.ts'
import { contentKey, hashesKey, pieceBytes, quarantineKey, readTag, tagKey } from './layout.ts'
import { keyOf, type LinkTask, type Task } from './queue.ts'

export interface WritingOptions {
  access: StoreAccess
  store: Store
  index: TolerantIndex
  /** Objects that are known to be there. */
  seen: { has: (key: string) => boolean; set: (key: string, value: true) => unknown }
  /** Nothing wrong lies in the place of this content any more. */
  whenClear: (digest: Digest) => Promise<void>
  pause: Pause
  log: Logger
}

/**
 * What becomes of a task; `later`: its content is not stored here yet; `busy`: that is large, and another task
 * writes it, or enough that is; `paused`: the store is pruned.
 */
type Result = 'done' | 'later' | 'busy' | 'paused'
type Written = Exclude<Result, 'paused'>

/** Contents with more bytes are large, and few of them are written at once: names, and what is small, go past them. */
const largeBytes = 16 * 2 ** 20
const mostLarge = 2
/** How long one small object may take, ms: a pruning waits for longer before it looks at what is there. */
export const nameMs = 15_000

/** `pruning`: the last one when it began. */
interface Turn {
  pruning: string
  signal: AbortSignal
}

/** Returns what does a task. */
export function createWriting(options: WritingOptions) {
  const { access, index, seen, pause } = options
  const { store: remote } = access
  const writeContent = createContentWriting(options)

  /** Writes what names something, unless a pruning has begun meanwhile: then that may be gone. */
  async function name(key: string, body: object, turn: Turn, ifAbsent = false): Promise<Result> {
    if ((await pause.pruning()) !== turn.pruning) return 'paused'
    const written = { ifAbsent, signal: briefly(turn.signal) }
    await remote.put(key, Buffer.from(JSON.stringify(body)), written)
    return 'done'
  }

  async function writeLink(task: LinkTask, turn: Turn): Promise<Result> {
    const key = keyOf(task)
    const isPulled = task.isPulled === true
    if (seen.has(key) && !isPulled) return 'done'
    const [signed] = index.childrenOf(task.digest, 'signed')
    const content = signed ?? task.digest
    for (const part of task.kind === 'manifest' ? index.childrenOf(content) : []) {
      const result = await writePart(task, part, turn)
      if (result !== 'done') return result
    }
    const written = await writeContent(content, turn.signal)
    if (written !== 'done') return written
    const size = index.content(content)?.size
    if (size === undefined) return 'later'
    const link = { size, ...(signed === undefined ? {} : { content }) }
    const result = await name(key, link, turn, !isPulled)
    if (result === 'done') seen.set(key, true)
    return result
  }

  /** What is not here, or not of this repository, comes when it is. */
  async function writePart(place: Place, digest: Digest, turn: Turn): Promise<Result> {
    if (index.content(digest) === undefined) return 'done'
    const { upstream, repository } = place
    for (const kind of index.linkKinds(place, digest)) {
      const result = await writeLink({ do: 'link', upstream, repository, digest, kind }, turn)
      if (result === 'paused' || result === 'busy') return result
    }
    return 'done'
  }

  async function writeReferrers(task: Task & { do: 'referrers' }, turn: Turn): Promise<Result> {
    const known = index.referrers(task, task.digest)
    return known === undefined ? 'done' : name(keyOf(task), known, turn)
  }

  /** Whoever asked last knows best. */
  async function writeTag(task: Task & { do: 'tag' | 'untag' }, turn: Turn): Promise<Result> {
    const result = task.do === 'tag' ? await writePart(task, task.digest, turn) : 'done'
    if (result !== 'done') return result
    const key = tagKey(task, task.name)
    const bytes = await access.bytes(key, briefly(turn.signal))
    const known = bytes && readTag(bytes)
    if (known !== undefined && known.checkedAt > task.checkedAt) return 'done'
    if (task.do === 'tag') {
      const { digest, checkedAt } = task
      return name(key, { digest, checkedAt }, turn)
    }
    if ((await pause.pruning()) !== turn.pruning) return 'paused'
    if (bytes !== undefined) await remote.remove(key)
    return 'done'
  }

  return async (task: Task, signal: AbortSignal): Promise<Result> => {
    const pruning = await pause.pruning()
    if (pruning === undefined) return 'paused'
    if (task.do === 'content') return writeContent(task.digest, signal)
    if (task.do === 'link') return writeLink(task, { pruning, signal })
    if (task.do === 'referrers') return writeReferrers(task, { pruning, signal })
    return writeTag(task, { pruning, signal })
  }
}

/** Returns what writes content, with the hashes of its pieces, where the store lacks it. */
function createContentWriting({ access, store, index, seen, whenClear, log }: WritingOptions) {
  const { store: remote } = access
  const share = createSingleFlight()
  const large = new Set<Digest>()

  async function write(digest: Digest, size: number, signal: AbortSignal): Promise<Written> {
    const key = contentKey(digest)
    await whenClear(digest)
    const there = await remote.size(key, briefly(signal))
    if (there !== size) {
      const local = await hashFile(store, digest).catch(() => undefined)
      if (local === undefined) return 'later'
      if (local.digest !== digest || local.size !== size) {
        log.warn({ digest }, 'not written to the shared store: its file is not what it should be')
        return 'done'
      }
      if (there !== undefined) await remote.move(key, quarantineKey(digest, Date.now()))
      if (size > pieceBytes) {
        await remote.put(hashesKey(digest), local.hashes, {
          ifAbsent: false,
          signal: briefly(signal),
        })
      }
      const { sha256 } = local
      await remote.putFile(key, { path: store.pathOf(digest), size, sha256 }, signal)
    }
    seen.set(key, true)
    return 'done'
  }

  return async (digest: Digest, signal: AbortSignal): Promise<Written> => {
    if (seen.has(contentKey(digest))) return 'done'
    const size = index.content(digest)?.size
    if (size === undefined) return 'later'
    // Images that are written at the same time may have layers in common.
    if (size <= largeBytes) return share(digest, async () => write(digest, size, signal))
    if (large.has(digest) || large.size >= mostLarge) return 'busy'
    large.add(digest)
    try {
      return await write(digest, size, signal)
    } finally {
      large.delete(digest)
    }
  }
}

/** Of one small object. */
function briefly(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(nameMs)])
}

/** Of a stored file: its digest, its SHA-256 in base64, and the hash of each of its pieces; undefined: it is not there. */
async function hashFile(store: Store, digest: Digest) {
  const file = await store.open(digest)
  if (file === undefined) return undefined
  try {
    const whole = hasherFor(digest)
    const sha256 = algorithmOf(digest) === 'sha256' ? whole : createHash('sha256')
    const hashes: Buffer[] = []
    const buffer = Buffer.allocUnsafe(pieceBytes)
    let size = 0
    for (;;) {
      const piece = buffer.subarray(0, await fill(file, buffer, size))
      if (piece.length === 0) break
      whole.update(piece)
      if (sha256 !== whole) sha256.update(piece)
      hashes.push(createHash('sha256').update(piece).digest())
      size += piece.length
    }
    const sum = sha256.copy().digest('base64')
    const found: Digest = `${algorithmOf(digest)}:${whole.digest('hex')}`
    return { digest: found, size, sha256: sum, hashes: Buffer.concat(hashes) }
  } finally {
    await file.close()
  }
}

/** Reads until the buffer is full or the file ends: the number of bytes. */
async function fill(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  for (let filled = 0; ;) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, position + filled)
    filled += bytesRead
    if (bytesRead === 0 || filled === buffer.length) return filled
  }
}
