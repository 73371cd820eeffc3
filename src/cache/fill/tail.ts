// The end of a growing file: stages in memory on their way to disk, and what is before them on disk.
//
// A stage is filled, flushed (hashed, readable), written, and let go of; the last one may be flushed in
// parts. The tail as a whole is storing, and goes over to not storing once a write has failed, never
// back: from then on stages are let go of when no reader needs them, and what is gone is a gap.
import { read, readSync } from 'node:fs'
import type { Hash } from 'node:crypto'
import { promisify } from 'node:util'
import { joined } from '../../oci/body-collector.ts'
import { checked } from '../disk/open-file.ts'
import { createWriteQueue } from './write-queue.ts'

const readAsync = promisify(read)

export interface Tail {
  /** Copies the chunk; it can be read once its stage is flushed. */
  append: (chunk: Buffer) => void
  /** Hashes what is staged and makes it readable. */
  flush: () => void
  /** Bytes that are hashed and can be read. */
  end: () => number
  /** More has come than disk or readers take: whoever hears this lets the upstream wait for `onRoom`. */
  isCrowded: () => boolean
  isStoring: () => boolean
  /** Nothing at `position` can be read any more; only where storing has failed. */
  isGone: (position: number) => boolean
  /** Something is gone, so that nobody new can read all of it. */
  hasGap: () => boolean
  /** Copies from `position` on, at most to `limit`: the number of bytes. */
  read: (buffer: Buffer, position: number, limit: number) => number | Promise<number>
  /** Readers have moved on, which makes room where storing has failed. */
  moved: () => void
  /** All of it, where it is in memory as a whole; takes no more than its bytes. */
  whole: () => Buffer | undefined
  /** Resolves once no write is under way. */
  settled: () => Promise<void>
}

export interface TailOptions {
  /** An open file to write to; undefined: there is none to be had. */
  fd: number | undefined
  hash: Hash
  /** Bytes that will come, as far as it is known. */
  size: number | undefined
  /** What has at most so many bytes stays in memory as a whole. */
  smallLimit: number
  onFlush: () => void
  onRoom: () => void
  /** The offset before which no reader needs anything any more. */
  neededFrom: () => number
  /** From now on what comes is in memory only, in a window that readers have to follow. */
  onStoringFailed: (error: unknown) => void
}

interface Stage {
  buffer: Buffer
  /** Offset of its first byte in the content. */
  start: number
  filled: number
  flushed: number
  /** Writes under way. */
  writes: number
}

const stageBytes = 256 * 1024
/** Writes under way before the upstream has to wait. */
const maxWrites = 2
/** Stages in memory, where there is no disk to write them to, before it has to wait. */
const windowStages = 4
/** What was written so recently is read without the thread pool: it is in the page cache. */
const recentBytes = 64 * 1024 * 1024

export function createTail(options: TailOptions): Tail {
  const { fd, hash, size, smallLimit, onFlush } = options
  const queue = createWriteQueue(fd ?? -1)
  const list = createStages(size, size !== undefined && size <= smallLimit)
  let storing = fd !== undefined
  /** So much of the content is in the file; counts once storing has failed. */
  let storedEnd = 0
  /** Somebody waits for room. */
  let isAwaited = false

  const isFull = () => (storing ? queue.length() >= maxWrites : list.stages.length > windowStages)
  const fileEnd = () => (storing ? list.start() : storedEnd)

  function flushStage(stage: Stage): void {
    if (stage.flushed === stage.filled) return
    const part = stage.buffer.subarray(stage.flushed, stage.filled)
    const position = stage.start + stage.flushed
    hash.update(part)
    stage.flushed = stage.filled
    if (storing) store(stage, part, position)
    onFlush()
    if (!storing) makeRoom()
  }

  function store(stage: Stage, part: Buffer, position: number): void {
    stage.writes += 1
    queue.write(part, position, (error) => {
      stage.writes -= 1
      if (error !== null && storing) {
        storedEnd = list.start()
        storing = false
        options.onStoringFailed(error)
      }
      makeRoom()
    })
  }

  /** Stages go in order, so that all before the first one is in the file while it is stored. */
  function makeRoom(): void {
    list.shift(storing ? Infinity : options.neededFrom())
    if (!isAwaited || isFull()) return
    isAwaited = false
    options.onRoom()
  }

  return {
    append(chunk) {
      for (let done = 0; done < chunk.length;) {
        const stage = list.current()
        const copied = chunk.copy(stage.buffer, stage.filled, done)
        stage.filled += copied
        done += copied
        if (stage.filled === stage.buffer.length) flushStage(stage)
      }
    },
    flush() {
      const last = list.stages.at(-1)
      if (last !== undefined) flushStage(last)
    },
    end: list.end,
    isCrowded() {
      const isCrowded = isFull()
      isAwaited ||= isCrowded
      return isCrowded
    },
    isStoring: () => storing,
    isGone: (position) => position >= fileEnd() && position < list.start(),
    hasGap: () => fileEnd() < list.start(),
    read(buffer, position, limit) {
      const end = Math.min(limit, fileEnd())
      if (fd === undefined || position >= end) return list.read(buffer, position, limit)
      const length = Math.min(buffer.length, end - position)
      return readPart(fd, buffer, position, length, list.end() - position < recentBytes)
    },
    moved() {
      if (!storing) makeRoom()
    },
    whole: () => list.whole(),
    settled: queue.settled,
  }
}

/** @param isSmall it all fits into one stage, and stays there */
function createStages(size: number | undefined, isSmall: boolean) {
  const stages: Stage[] = []
  const spare: Buffer[] = []
  /** Where the next stage begins. */
  let next = 0

  /** The stage that has room. */
  function current(): Stage {
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

  function end(): number {
    const last = stages.at(-1)
    return last === undefined ? next : last.start + last.flushed
  }

  return {
    stages,
    current,
    end,
    start: () => stages[0]?.start ?? next,
    /** Forgets the first ones as far as they are full, written and before `position`. */
    shift(position: number): void {
      for (let first = stages[0]; first !== undefined; first = stages[0]) {
        const { buffer, start, flushed, writes } = first
        if (isSmall || writes > 0 || flushed < buffer.length || start + flushed > position) return
        stages.shift()
        if (buffer.length === stageBytes) spare.push(buffer)
      }
    },
    read(buffer: Buffer, position: number, limit: number): number {
      const stage = stages.find(({ start, flushed }) => position < start + flushed)
      if (stage === undefined) return 0
      const end = Math.min(stage.flushed, limit - stage.start)
      return stage.buffer.copy(buffer, 0, position - stage.start, end)
    },
    whole(): Buffer | undefined {
      if (size === 0) return Buffer.alloc(0)
      const only = stages.length === 1 ? stages[0] : undefined
      if (only?.start !== 0) return undefined
      const { buffer, filled } = only
      // It stays in memory for long: without the rest of a stage that has room for more.
      return filled === buffer.length ? buffer : joined([buffer.subarray(0, filled)])
    },
  }
}

function readPart(
  fd: number,
  buffer: Buffer,
  position: number,
  length: number,
  isRecent: boolean,
): number | Promise<number> {
  if (isRecent) return checked(readSync(fd, buffer, 0, length, position))
  return readAsync(fd, buffer, 0, length, position).then(({ bytesRead }) => checked(bytesRead))
}
