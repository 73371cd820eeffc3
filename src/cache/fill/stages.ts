// The stages of a download that are in memory, in order. Their buffers go from one download to the next: new ones are
// outside of the heap, and their sum starts full collections.
import { joined } from '../../oci/body-collector.ts'
import type { Loan } from '../cache.ts'

export interface FillStage {
  buffer: Buffer
  /** Offset of its first byte in the content. */
  start: number
  filled: number
  flushed: number
  /** Writes under way. */
  writes: number
  /** Readers who have it on loan. */
  loans: number
  /** It is not one of the stages any more. */
  isGone: boolean
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
  /** The same without a copy; undefined where that is not in memory. */
  lend: (position: number, limit: number) => Loan | undefined
  /** All of it, where it is in memory as a whole; takes no more than its bytes. */
  whole: () => Buffer | undefined
}

export const stageBytes = 256 * 1024
/** Buffers kept for the next downloads: eight have some four each. */
const kept = 32
const spare: Buffer[] = []
const unused = { filled: 0, flushed: 0, writes: 0, loans: 0, isGone: false }

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
    const buffer = length === stageBytes ? takeStageBuffer() : Buffer.allocUnsafeSlow(length)
    const stage = { ...unused, buffer, start: next }
    next += length
    stages.push(stage)
    return stage
  }

  function holding(position: number): FillStage | undefined {
    return stages.find(({ start, flushed }) => position < start + flushed)
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
        first.isGone = true
        reuse(first)
      }
    },
    read(buffer, position, limit) {
      const stage = holding(position)
      if (stage === undefined) return 0
      const end = Math.min(stage.flushed, limit - stage.start)
      return stage.buffer.copy(buffer, 0, position - stage.start, end)
    },
    lend(position, limit) {
      const stage = holding(position)
      if (stage === undefined || position < stage.start) return undefined
      stage.loans += 1
      const end = Math.min(stage.flushed, limit - stage.start)
      return {
        bytes: stage.buffer.subarray(position - stage.start, end),
        giveBack() {
          stage.loans -= 1
          reuse(stage)
        },
      }
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

/** For the next download, once nobody has it any more. */
function reuse({ buffer, loans, isGone }: FillStage): void {
  if (isGone && loans === 0 && buffer.length === stageBytes) giveStageBuffer(buffer)
}

export function takeStageBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(stageBytes)
}

/** @param buffer what nobody has any more */
export function giveStageBuffer(buffer: Buffer): void {
  if (spare.length < kept) spare.push(buffer)
}
