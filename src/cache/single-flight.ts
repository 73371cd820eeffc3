// Work that several callers want at once and that is done once for all of them.

export type Share = <T>(key: string, work: () => Promise<T>) => Promise<T>

/** Whoever comes with the key of work that is under way gets its result; `onJoin` tells of each. */
export function createSingleFlight(onJoin: () => void = () => undefined): Share {
  const running = new Map<string, Promise<unknown>>()
  return async <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const known = running.get(key)
    if (known !== undefined) {
      onJoin()
      return (await known) as T
    }
    const promise = work()
    running.set(key, promise)
    try {
      return await promise
    } finally {
      running.delete(key)
    }
  }
}
