// Who is passed over because it could not be asked: for a moment at first, for longer where that lasts.

interface Rest {
  since: number
  /** ms */
  length: number
}

export interface Rests {
  isResting: (name: string) => boolean
  /** It could not be asked. What fails while it rests has begun before, and says nothing new. */
  failed: (name: string) => void
  /** It sends what is wrong, or takes long to fail: it rests as long as anybody does. */
  distrusted: (name: string) => void
  /** @param askedAt what was asked before it began to rest does not say how it is */
  answered: (name: string, askedAt: number) => void
  forget: (name: string) => void
}

/** @param first of the lengths of rests, ms; each one that follows is twice as long, at most `longest` */
export function createRests(first: number, longest: number, now: () => number): Rests {
  const rests = new Map<string, Rest>()

  function isResting(name: string): boolean {
    const { since, length } = rests.get(name) ?? { since: 0, length: 0 }
    const passed = now() - since
    // A clock that was set back is no reason to wait for it.
    return passed >= 0 && passed < length
  }

  return {
    isResting,
    failed(name) {
      if (isResting(name)) return
      const before = rests.get(name)
      const length = before === undefined ? first : Math.min(longest, before.length * 2)
      rests.set(name, { since: now(), length })
    },
    distrusted: (name) => void rests.set(name, { since: now(), length: longest }),
    answered(name, askedAt) {
      if (askedAt > (rests.get(name)?.since ?? Infinity)) rests.delete(name)
    },
    forget: (name) => void rests.delete(name),
  }
}
