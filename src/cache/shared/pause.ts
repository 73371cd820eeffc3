// Keeps this replica from writing to the shared store while somebody prunes it: what it would name might
// be on its way out. What it has to write waits in its queue meanwhile.
import { leaseTerm, readLease, type LeaseState } from './pruning/lease.ts'
import type { ObjectStore } from './object-store.ts'

export interface Pause {
  /**
   * The last pruning, '' before the first; undefined: one is under way. Asks the store where that is known
   * for longer than a moment. Rejects as that does.
   */
  pruning: () => Promise<string | undefined>
  /** One is under way, as far as is known. */
  isOn: () => boolean
}

/** For how long an answer is believed, ms: a pruning waits for longer before it looks at what is there. */
export const believedFor = 10_000

/**
 * @param options.onChange what was known to be there may be gone
 * @param options.term how long a pruning that tells nothing goes on, ms
 */
export function createPause(
  store: ObjectStore,
  { onChange, term = leaseTerm }: { onChange: () => void; term?: number },
): Pause {
  let state: LeaseState | undefined
  /** When the object was seen to change. */
  let changedAt = 0
  let askedAt = Number.NEGATIVE_INFINITY
  let known: string | undefined

  async function ask(): Promise<void> {
    const asked = performance.now()
    const next = await readLease(store)
    const now = performance.now()
    if (next?.etag !== state?.etag) changedAt = now
    state = next
    askedAt = asked
    const isHeld = state !== undefined && !state.isOver && now - changedAt < term
    const pruning = isHeld ? undefined : (state?.run ?? '')
    if (pruning !== known) onChange()
    known = pruning
  }

  return {
    async pruning() {
      if (performance.now() - askedAt >= believedFor) await ask()
      return known
    },
    isOn: () => known === undefined && performance.now() - askedAt < believedFor,
  }
}
