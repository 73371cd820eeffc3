// The stages of a download that are in memory, in order. Their buffers go from one download to the next: new ones are
// outside of the heap, and their sum starts full collections.
import { joined } from '../../oci/body-collector.ts'

export interface FillStage {
  buffer: Buffer
  /** Offset of its first byte in the content. */
  start: number
  filled: number
  flushed: number
  /** Writes under way. */
  writes: number
}

export interface Stages {
  /** In order; the last one may have room. */
  stages: readonly FillStage[]
  /** The stage that has room. */
  current: () => FillStage
  /** Bytes that are hashed and can be read. */
  end: () => number
  /** Offset of the first byte that is in memory. */
  start: () => number
  /** Forgets the first ones as far as they are full, written and before `position`. */
  shift: (position: number) => void
  /** Copies from `position` on, at most to `limit`: the number of bytes. */
  read: (buffer: Buffer, position: number, limit: number) => number
  /** All of it, where it is in memory as a whole; takes no more than its bytes. */
  whole: () => Buffer | undefined
}

const stageBytes = 256 * 1024
/** Buffers kept for the next downloads: eight have some four each. */
const kept = 32
const spare: Buffer[] = []

/**
 * @param size bytes of the content, as far as it is known
 * @param isSmall it all fits into one stage, and stays there
 */
export function createStages(size: number | undefined, isSmall: boolean): Stages {
  const stages: FillStage[] = []
  /** Where the next stage begins. */
  let next = 0

  function current(): FillStage {
    const last = stages.at(-1)
    if (last !== undefined && last.filled < last.buffer.length) return last
    const length = Math.min(stageBytes, Math.max(1, (size ?? Infinity) - next))
    const buffer =
      (length === stageBytes ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(length)
    const stage = { buffer, start: next, filled: 0, flushed: 0, writes: 0 }
    next += length
    stages.push(stage)
    return stage
  }

  return {
    stages,
    current,
    end() {
      const last = stages.at(-1)
      return last === undefined ? next : last.start + last.flushed
    },
    start: () => stages[0]?.start ?? next,
    shift(position) {
      for (let first = stages[0]; first !== undefined; first = stages[0]) {
        const { buffer, start, flushed, writes } = first
        if (isSmall || writes > 0 || flushed < buffer.length || start + flushed > position) return
        stages.shift()
        if (buffer.length === stageBytes && spare.length < kept) spare.push(buffer)
      }
    },
    read(buffer, position, limit) {
      const stage = stages.find(({ start, flushed }) => position < start + flushed)
      if (stage === undefined) return 0
      const end = Math.min(stage.flushed, limit - stage.start)
      return stage.buffer.copy(buffer, 0, position - stage.start, end)
    },
    whole() {
      if (size === 0) return Buffer.alloc(0)
      const only = stages.length === 1 ? stages[0] : undefined
      if (only?.start !== 0) return undefined
      const { buffer, filled } = only
      // It stays in memory for long: without the rest of a stage, and not in one that others get.
      return isSmall && filled === buffer.length ? buffer : joined([buffer.subarray(0, filled)])
    },
  }
}
