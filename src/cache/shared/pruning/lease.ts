// Lets one at a time prune a bucket: an object that its holder writes again and again, each time in the
// place of what it wrote before. Whoever watches it needs no clock but its own: what does not change for
// a term is held by nobody.
import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { pruningKey } from '../layout.ts'
import type { ObjectStore } from '../object-store.ts'
import { readSmallObject } from '../small-object.ts'

/** How long it may stay unchanged, ms. */
export const leaseTerm = 60_000
const requestMs = 10_000

/** What the object says. */
export interface LeaseState {
  /** Another one for each pruning. */
  run: string
  /** For people: which process on which machine. */
  holder: string
  isOver: boolean
  /** Changes with each write. */
  etag: string
}

export interface Lease {
  /** Throws where it may be another's by now: what is done within the next quarter of a term is safe. */
  assertHeld: () => void
  /** Whoever watches need not wait for the end of the term. */
  release: () => Promise<void>
}

export interface LeaseOptions {
  holder: string
  /** ms */
  term?: number
  /** Somebody has it and may be dead, which is known after so many ms. */
  onWait: (holder: string, ms: number) => void
  /** Ends the waiting for it. */
  signal: AbortSignal
}

/** undefined: nobody has pruned this bucket yet. Rejects as the store does. */
export async function readLease(store: ObjectStore): Promise<LeaseState | undefined> {
  const object = await store.get(pruningKey, { signal: AbortSignal.timeout(requestMs) })
  if (object === undefined) return undefined
  const text = String((await readSmallObject(object)) ?? '')
  return { ...stateIn(text), etag: object.etag }
}

/** What cannot be read is held, until it has not changed for a term. */
function stateIn(text: string): Omit<LeaseState, 'etag'> {
  try {
    const { run, holder, isOver } = JSON.parse(text) as Record<string, unknown>
    return { run: String(run), holder: String(holder), isOver: isOver === true }
  } catch {
    return { run: text.slice(0, 64), holder: 'somebody', isOver: false }
  }
}

/** Rejects where somebody else has it, after a term at most; as the store does, and with `signal`. */
export async function takeLease(store: ObjectStore, options: LeaseOptions): Promise<Lease> {
  const { holder, term = leaseTerm } = options
  const run = randomUUID()
  let writes = 0
  let isLost = false
  let heldFrom = performance.now()

  async function write(before: string | undefined, isOver: boolean): Promise<string | undefined> {
    writes += 1
    const began = performance.now()
    const body = Buffer.from(JSON.stringify({ run, holder, isOver, writes }))
    const signal = AbortSignal.timeout(Math.min(requestMs, term / 4))
    const etag = await store.swap(pruningKey, body, before, signal)
    if (etag !== undefined) heldFrom = began
    return etag
  }

  /** An answer may have been lost on the way: then what is there is our own, and in its place this goes. */
  async function renew(isOver: boolean): Promise<void> {
    let next = await write(etag, isOver)
    if (next === undefined) {
      const own = await ownEtag(store, run)
      next = own && (await write(own, isOver))
    }
    if (next === undefined) isLost = true
    else etag = next
  }

  let etag = await write(await whenFree(store, { ...options, term }), false)
  if (etag === undefined) {
    throw new Error('somebody else has just begun to prune this bucket: try again later')
  }
  // It would let two have it.
  if ((await write(`"${run}"`, true)) !== undefined) {
    throw new Error(
      'the store writes whatever the condition is (If-Match), so that two could prune it at once: prune it by rules of the bucket',
    )
  }
  let renewal: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    renewal = renewal.then(async () => renew(false)).catch(() => undefined)
  }, term / 6).unref()

  return {
    assertHeld() {
      if (!isLost && performance.now() - heldFrom < term / 2) return
      throw new Error(
        'the store did not answer in time, so that others may prune it by now: nothing more is removed; try again',
      )
    },
    async release() {
      clearInterval(timer)
      await renewal
      if (!isLost) await renew(true)
    },
  }
}

async function ownEtag(store: ObjectStore, run: string): Promise<string | undefined> {
  const state = await readLease(store)
  return state?.run === run ? state.etag : undefined
}

/** The etag to replace: of nothing, of a lease that is over, or of one that nobody has renewed for a term. */
async function whenFree(
  store: ObjectStore,
  { term, onWait, signal }: LeaseOptions & { term: number },
): Promise<string | undefined> {
  const first = await readLease(store)
  if (first === undefined || first.isOver) return first?.etag
  onWait(first.holder, term)
  const began = performance.now()
  while (performance.now() - began < term) {
    await wait(term / 20, undefined, { signal })
    const state = await readLease(store)
    if (state === undefined || state.isOver) return state?.etag
    if (state.etag !== first.etag) {
      throw new Error(`${state.holder} prunes this bucket: try again when that has ended`)
    }
  }
  return first.etag
}
