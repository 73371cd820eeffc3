// Writes to the index in their order, those of a moment together: what costs is not a statement, but a transaction.
import type { Index } from './content-index.ts'

/** Writes that wait for a disk with room, or for another process to be done. */
const maxWaiting = 10_000
/**
 * Writes within so many ms, and so many of them at most, are one transaction: 0.90x of the CPU of a cold image of
 * tiny objects. A process that is killed meanwhile forgets what it has just stored.
 */
const gatherFor = 10
const mostTogether = 64

export interface GatheredWrites {
  /** Is done in a moment, with others. @param about rows that readers name, too */
  write: (about: readonly string[], statement: Statement) => void
  /** Is done at once, after all others; it is a transaction of its own. */
  writeNow: (statement: Statement) => void
  /** Whether something that waits for a moment is about the row. */
  concern: (row: string) => boolean
  /** Writes what waits for a moment; not what could not be written. */
  flush: () => void
  /** Tries to write all. */
  catchUp: () => void
}

type Statement = (index: Index) => void

interface Write {
  isAlone: boolean
  statement: Statement
}

/**
 * Writes in their order, those of a moment together. What fails stays, and what comes after it.
 * @param onFailure whether there is another index now
 */
export function createGatheredWrites(
  current: () => Index,
  onFailure: (error: unknown) => boolean,
): GatheredWrites {
  const waiting: Write[] = []
  /** Absent where nothing waits, or the first one has failed: then `catchUp` is for others to call. */
  let timer: NodeJS.Timeout | undefined
  const concerned = new Set<string>()

  function catchUp(): void {
    clearTimeout(timer)
    timer = undefined
    try {
      while (waiting.length > 0) writeSome()
      concerned.clear()
    } catch (error) {
      if (onFailure(error)) catchUp()
    }
  }

  function writeSome(): void {
    const index = current()
    const alone = waiting.slice(0, mostTogether).findIndex(({ isAlone }) => isAlone)
    const count = alone === -1 ? Math.min(mostTogether, waiting.length) : Math.max(1, alone)
    const some = waiting.slice(0, count)
    const work = () => some.forEach(({ statement }) => statement(index))
    if (alone === 0) work()
    else index.transaction(work)
    waiting.splice(0, count)
  }

  function flush(): void {
    if (timer !== undefined) catchUp()
  }

  function push(write: Write): void {
    const isFirst = waiting.length === 0
    waiting.push(write)
    if (isFirst) timer = setTimeout(catchUp, gatherFor)
    else if (waiting.length >= mostTogether) flush()
    if (waiting.length > maxWaiting) waiting.shift()
  }

  return {
    write(about, statement) {
      push({ isAlone: false, statement })
      for (const row of about) concerned.add(row)
    },
    writeNow(statement) {
      push({ isAlone: true, statement })
      flush()
    },
    concern: (row) => timer !== undefined && concerned.has(row),
    flush,
    catchUp,
  }
}
