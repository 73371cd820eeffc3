// Works the queue off: writes to the object store what it lacks, as long as it answers.
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import type { Logger } from 'pino'
import { algorithmOf, hasherFor, hexOf, type Digest } from '../../oci/digest.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { Store } from '../store.ts'
import type { StoreAccess } from './store-access.ts'
import { contentKey, hashesKey, pieceBytes, quarantineKey, tagKey } from './layout.ts'
import { keyOf, type Queue, type Task } from './queue.ts'

export interface UploadsOptions {
  access: StoreAccess
  queue: Queue
  store: Store
  index: TolerantIndex
  /** Objects that are known to be there. */
  seen: { has: (key: string) => boolean; set: (key: string, value: true) => unknown }
  /** Nothing wrong lies in the place of this content any more. */
  whenClear: (digest: Digest) => Promise<void>
  log: Logger
  /** How often it looks whether there is something to do again, ms. */
  restCheck?: number
}

export interface Uploads {
  /** There is something to do. */
  wake: () => void
  /** Ends what is under way within a moment; the rest waits for the next start. */
  close: () => Promise<void>
}

/** What becomes of a task; `later`: its content is not stored here yet. */
type Result = 'done' | 'later'

const atOnce = 2
/** How long one object may take, ms: 5 GiB at 10 MiB/s. */
const uploadMs = 15 * 60_000
/** How often what is not stored here yet is looked for, and how long after that the next time, ms. */
const mostLooks = 10
const lookAgain = 500
/** How long after a failure the same is tried again, ms; twice as long after each further one. */
const againAfter = 500
const longestAgain = 10 * 60_000
/** How long the end waits for what is under way, ms. */
const lastMs = 1000

export function createUploads(options: UploadsOptions): Uploads {
  const { access, queue, restCheck = 500 } = options
  const perform = createWriting(options)
  const looks = new Map<string, { count: number; next: number }>()
  const failures = new Map<string, number>()
  const underWay = new Set<string>()
  const end = new AbortController()
  let woken = Promise.withResolvers<void>()

  async function run(): Promise<void> {
    while (!end.signal.aborted) {
      const task = access.isResting('write') ? undefined : next()
      if (task === undefined) await idle()
      else await handle(task)
    }
  }

  function next(): Task | undefined {
    const now = Date.now()
    for (const task of queue.waiting()) {
      const key = keyOf(task)
      if (!underWay.has(key) && (looks.get(key)?.next ?? 0) <= now) return task
    }
    return undefined
  }

  async function idle(): Promise<void> {
    const isEmpty = queue.size() === underWay.size
    const timer = isEmpty ? undefined : setTimeout(wake, restCheck).unref()
    await woken.promise
    clearTimeout(timer)
  }

  async function handle(task: Task): Promise<void> {
    const key = keyOf(task)
    underWay.add(key)
    try {
      const outcome = await access.use('write', { ms: uploadMs }, async (signal) =>
        perform(task, AbortSignal.any([signal, end.signal])),
      )
      if (outcome === undefined) putOff(key)
      else if (outcome.value === 'later') postpone(task, key)
      else finish(task, key)
    } finally {
      underWay.delete(key)
    }
  }

  /** What the store does not take by itself holds nobody else up. */
  function putOff(key: string): void {
    const count = failures.get(key) ?? 0
    failures.set(key, count + 1)
    looks.set(key, { count: 0, next: Date.now() + Math.min(againAfter * 2 ** count, longestAgain) })
  }

  function finish(task: Task, key: string): void {
    failures.delete(key)
    looks.delete(key)
    queue.done(task)
  }

  /** What is evicted before it was written is fetched again by whoever wants it, and comes back here. */
  function postpone(task: Task, key: string): void {
    const count = (looks.get(key)?.count ?? 0) + 1
    if (count > mostLooks) finish(task, key)
    else looks.set(key, { count, next: Date.now() + lookAgain * 2 ** (count - 1) })
  }

  function wake(): void {
    const before = woken
    woken = Promise.withResolvers<void>()
    before.resolve()
  }

  const running = Promise.all(Array.from({ length: atOnce }, run))
  return {
    wake,
    async close() {
      access.close()
      end.abort()
      wake()
      await Promise.race([running, wait(lastMs, undefined, { ref: false })])
    },
  }
}

/** Returns what does a task. */
function createWriting(options: UploadsOptions) {
  const { access, store, index, seen, log } = options
  const { store: remote } = access

  async function writeLink(task: Task & { do: 'link' }, signal: AbortSignal): Promise<Result> {
    const key = keyOf(task)
    if (seen.has(key)) return 'done'
    const [signed] = index.childrenOf(task.digest, 'signed')
    const content = signed ?? task.digest
    if ((await writeContent(content, signal)) === 'later') return 'later'
    const size = index.content(content)?.size
    if (size === undefined) return 'later'
    const link = { size, ...(signed === undefined ? {} : { content }) }
    await remote.put(key, Buffer.from(JSON.stringify(link)), { ifAbsent: true })
    seen.set(key, true)
    return 'done'
  }

  async function writeReferrers(task: Task & { do: 'referrers' }): Promise<Result> {
    const known = index.referrers(task, task.digest)
    if (known !== undefined) {
      await remote.put(keyOf(task), Buffer.from(JSON.stringify(known)), { ifAbsent: false })
    }
    return 'done'
  }

  /** Whoever asked last knows best. */
  async function writeTag(
    task: Task & { do: 'tag' | 'untag' },
    signal: AbortSignal,
  ): Promise<Result> {
    const key = tagKey(task, task.name)
    const bytes = await access.bytes(key, signal)
    const known = bytes === undefined ? undefined : checkedAtIn(bytes)
    if (known !== undefined && known > task.checkedAt) return 'done'
    if (task.do === 'tag') {
      const { digest, checkedAt } = task
      await remote.put(key, Buffer.from(JSON.stringify({ digest, checkedAt })), { ifAbsent: false })
    } else if (bytes !== undefined) await remote.remove(key)
    return 'done'
  }

  async function writeContent(digest: Digest, signal: AbortSignal): Promise<Result> {
    const key = contentKey(digest)
    if (seen.has(key)) return 'done'
    const facts = index.content(digest)
    if (facts === undefined) return 'later'
    const { size } = facts
    await options.whenClear(digest)
    const there = await remote.size(key, signal)
    if (there !== size) {
      const path = store.pathOf(digest)
      const local = await hashFile(store, digest).catch(() => undefined)
      if (local === undefined) return 'later'
      if (local.digest !== digest || local.size !== size) {
        log.warn({ digest }, 'not written to the shared store: its file is not what it should be')
        return 'done'
      }
      if (there !== undefined) await remote.move(key, quarantineKey(digest, Date.now()))
      if (size > pieceBytes) await remote.put(hashesKey(digest), local.hashes, { ifAbsent: false })
      const isSha256 = algorithmOf(digest) === 'sha256'
      const sum = isSha256 ? Buffer.from(hexOf(digest), 'hex').toString('base64') : undefined
      await remote.putFile(key, path, size, sum)
    }
    seen.set(key, true)
    return 'done'
  }

  return async (task: Task, signal: AbortSignal): Promise<Result> => {
    if (task.do === 'content') return writeContent(task.digest, signal)
    if (task.do === 'link') return writeLink(task, signal)
    if (task.do === 'referrers') return writeReferrers(task)
    return writeTag(task, signal)
  }
}

/** When the upstream was asked for what a tag object has, ms since 1970; undefined: it is no such object. */
function checkedAtIn(bytes: Buffer): number | undefined {
  try {
    return Number((JSON.parse(bytes.toString()) as { checkedAt?: unknown }).checkedAt)
  } catch {
    return undefined
  }
}

/** Of a stored file: its digest, and the hash of each of its pieces; undefined: it is not there. */
async function hashFile(store: Store, digest: Digest) {
  const file = await store.open(digest)
  if (file === undefined) return undefined
  try {
    const whole = hasherFor(digest)
    const hashes: Buffer[] = []
    const buffer = Buffer.allocUnsafe(pieceBytes)
    let size = 0
    for (;;) {
      const piece = buffer.subarray(0, await fill(file, buffer, size))
      if (piece.length === 0) break
      whole.update(piece)
      hashes.push(createHash('sha256').update(piece).digest())
      size += piece.length
    }
    const found: Digest = `${algorithmOf(digest)}:${whole.digest('hex')}`
    return { digest: found, size, hashes: Buffer.concat(hashes) }
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
