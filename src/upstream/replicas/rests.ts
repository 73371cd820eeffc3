// Who is passed over because it was of no use: for a moment, or until one request has found out how it is.

interface Rest {
  since: number
  /** ms */
  length: number
  /** When somebody went to find out. */
  triedAt: number
}

export interface Rests {
  isResting: (name: string) => boolean
  /** It is asked now. After a long rest it goes on resting for all others until it has answered. */
  asked: (name: string) => void
  /** It broke off: a moment. */
  failed: (name: string) => void
  /** It takes long to fail: a long rest, unless it has answered others meanwhile and is only slow. */
  late: (name: string, askedAt: number) => void
  /** It sends what is wrong: a long rest. */
  distrusted: (name: string) => void
  /** @param askedAt what was asked before it began to rest does not say how it is */
  answered: (name: string, askedAt: number) => void
  forget: (name: string) => void
}

/** @param brief that moment, and `long` a long rest, ms */
export function createRests(brief: number, long: number, now: () => number): Rests {
  const rests = new Map<string, Rest>()
  const answers = new Map<string, number>()

  function isWithin(since: number, length: number): boolean {
    const passed = now() - since
    // A clock that was set back is no reason to wait for it.
    return passed >= 0 && passed < length
  }

  function isResting(name: string): boolean {
    const rest = rests.get(name)
    if (rest === undefined) return false
    return isWithin(rest.since, rest.length) || isWithin(rest.triedAt, rest.length)
  }

  function rest(name: string, length: number): void {
    rests.set(name, { since: now(), length, triedAt: -Infinity })
  }

  return {
    isResting,
    asked(name) {
      const last = rests.get(name)
      if (last?.length === long && !isResting(name)) last.triedAt = now()
    },
    failed(name) {
      if (!isResting(name)) rest(name, brief)
    },
    late(name, askedAt) {
      if ((answers.get(name) ?? -Infinity) <= askedAt) rest(name, long)
    },
    distrusted: (name) => rest(name, long),
    answered(name, askedAt) {
      answers.set(name, now())
      if (askedAt > (rests.get(name)?.since ?? Infinity)) rests.delete(name)
    },
    forget(name) {
      rests.delete(name)
      answers.delete(name)
    },
  }
}
