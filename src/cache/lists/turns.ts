// Turns at an upstream: so many pieces of work at once, the others behind them in their order.

/** Resolves or rejects as `work` does, which begins when there is a place for it. */
export type InTurn = <Result>(upstream: string, work: () => Promise<Result>) => Promise<Result>

/** @param atOnce of one upstream */
export function createTurns(atOnce: number): InTurn {
  const lines = new Map<string, { free: number; waiting: (() => void)[] }>()
  return async (upstream, work) => {
    const line = lines.get(upstream) ?? { free: atOnce, waiting: [] }
    lines.set(upstream, line)
    if (line.free > 0) line.free -= 1
    else await new Promise<void>((begin) => line.waiting.push(begin))
    try {
      return await work()
    } finally {
      const next = line.waiting.shift()
      if (next === undefined) line.free += 1
      else next()
    }
  }
}
