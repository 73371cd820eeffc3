// How the workers of a gateway fare, as their supervisor tells it.

export interface CrewState {
  /** In the order of the numbers of the workers, which begin at 1. */
  workers: readonly WorkerState[]
  /** How many have ended since the start of the gateway, without being told to. */
  ends: number
}

export interface WorkerState {
  isServing: boolean
  /** When it has ended, ms since 1970: within `endsKept`. */
  ends: readonly number[]
}

/** ms; `again and again` is more than once within that. */
export const endsKept = 600_000

/** What an operator should look at, a sentence each: pulls are served by the others. */
export function crewWarnings({ workers }: CrewState, now = Date.now()): string[] {
  return workers.flatMap(({ isServing, ends }, index) => {
    const name = `worker ${index + 1} of ${workers.length}`
    const count = ends.filter((at) => now - at < endsKept).length
    if (count > 1) {
      const where = isServing ? '' : ', and is not there'
      const often = `${count} times within ${endsKept / 60_000} minutes`
      return [`${name} ends again and again (${often})${where}: the log says why`]
    }
    if (isServing) return []
    return count === 0
      ? [`${name} does not serve yet`]
      : [`${name} has ended, and another one takes its place: the log says why`]
  })
}
