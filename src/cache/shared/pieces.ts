// Reads content from the object store piece by piece, each verified before it is given.
import { createHash } from 'node:crypto'
import { algorithmOf, digestOf, type Digest } from '../../oci/digest.ts'
import type { StoreAccess } from './store-access.ts'
import { contentKey, hashBytes, hashesKey, pieceBytes, pieceCount } from './layout.ts'
import { readSmallObject } from './small-object.ts'

/** How long an answer, and each piece, may take while there is an upstream to ask, ms: half a MiB a second. */
const pieceMs = 2000
/** Where there is nobody else to ask. */
const patientMs = 60_000
export interface SharedContent {
  access: StoreAccess
  content: Digest
  /** Bytes. */
  size: number
  /** There is nobody else to ask. */
  isPatient: boolean
  /** Aborted when nobody wants more. */
  signal: AbortSignal
}

export interface Piece {
  at: number
  bytes: Buffer
}

/** It is not what its digest says. */
export class Damaged extends Error {}
/** It is not there. */
export class Missing extends Error {}

async function hashesOf({
  access,
  content,
  size,
  isPatient,
  signal,
}: SharedContent): Promise<Buffer> {
  const limit = AbortSignal.timeout(isPatient ? patientMs : pieceMs)
  const until = AbortSignal.any([signal, limit])
  const object = await access.store.get(hashesKey(content), { signal: until })
  if (object === undefined) throw new Missing()
  const length = pieceCount(size) * hashBytes
  const hashes = await readSmallObject(object, length)
  if (hashes?.length !== length) throw new Damaged()
  return hashes
}

/**
 * Pieces from the one with the offset `from` on; each is the caller's until the next is asked for. Throws
 * Damaged, Missing, or what the store does; a TimeoutError where it is too slow.
 */
export async function* verifiedPieces(source: SharedContent, from: number): AsyncGenerator<Piece> {
  const { access, content, size, isPatient, signal } = source
  const hashes = size > pieceBytes ? await hashesOf(source) : undefined
  const watch = createWatch(isPatient ? patientMs : pieceMs)
  let at = Math.floor(from / pieceBytes) * pieceBytes
  try {
    const object = await access.store.get(contentKey(content), {
      from: at,
      signal: AbortSignal.any([signal, watch.signal]),
    })
    if (object === undefined) throw new Missing()
    if (object.size !== size) throw new Damaged()
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, size))
    let filled = 0
    for await (const chunk of object.body) {
      for (let taken = 0; taken < chunk.length;) {
        const count = chunk.copy(buffer, filled, taken)
        filled += count
        taken += count
        if (filled < buffer.length && at + filled < size) continue
        const bytes = buffer.subarray(0, filled)
        if (!isRight(bytes, at, content, hashes)) throw new Damaged()
        watch.stop()
        yield { at, bytes }
        watch.start()
        at += filled
        filled = 0
      }
    }
    if (at < size) throw new Error('the store ended the object too early')
    if (size === 0) yield { at, bytes: buffer }
  } catch (error) {
    throw watch.signal.aborted ? watch.signal.reason : error
  } finally {
    watch.stop()
  }
}

function isRight(bytes: Buffer, at: number, content: Digest, hashes: Buffer | undefined): boolean {
  if (hashes === undefined) return digestOf(bytes, algorithmOf(content)) === content
  const start = (at / pieceBytes) * hashBytes
  return createHash('sha256')
    .update(bytes)
    .digest()
    .equals(hashes.subarray(start, start + hashBytes))
}

/** Aborts its signal when it has run for so many ms in a row. */
function createWatch(ms: number) {
  const controller = new AbortController()
  const ring = () => controller.abort(new DOMException('the store is too slow', 'TimeoutError'))
  let timer = setTimeout(ring, ms)
  return {
    signal: controller.signal,
    stop: () => clearTimeout(timer),
    start: () => void (timer = setTimeout(ring, ms)),
  }
}
