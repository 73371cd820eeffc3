// The end of a growing file: stages in memory on their way to disk, and what is before them on disk.
//
// A stage is filled, flushed (hashed, readable), written, and let go of; the last one may be flushed in
// parts. The tail as a whole is storing, and goes over to not storing once a write has failed, never
// back: from then on stages are let go of when no reader needs them, and what is gone is a gap.
import { read, readSync, write } from 'node:fs'
import type { Hash } from 'node:crypto'
import { promisify } from 'node:util'
import type { Loan } from '../cache.ts'
import { checked } from '../disk/open-file.ts'
import { createRereads } from './rereads.ts'
import { createStages, type FillStage } from './stages.ts'

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
  /** The same without a copy, where that takes no thread. */
  lend: (position: number, limit: number) => Loan | undefined
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
  const reread = createRereads(fd ?? -1)
  let storing = fd !== undefined
  /** So much of the content is in the file; counts once storing has failed. */
  let storedEnd = 0
  /** Somebody waits for room. */
  let isAwaited = false

  const isFull = () => (storing ? queue.length() >= maxWrites : list.stages.length > windowStages)
  const fileEnd = () => (storing ? list.start() : storedEnd)

  function flushStage(stage: FillStage): void {
    if (stage.flushed === stage.filled) return
    const part = stage.buffer.subarray(stage.flushed, stage.filled)
    const position = stage.start + stage.flushed
    hash.update(part)
    stage.flushed = stage.filled
    if (storing) store(stage, part, position)
    onFlush()
    if (!storing) makeRoom()
  }

  function store(stage: FillStage, part: Buffer, position: number): void {
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
    lend(position, limit) {
      if (position >= limit) return undefined
      if (position >= list.start()) return list.lend(position, limit)
      if (list.end() - position >= recentBytes) return undefined
      return reread(position, Math.min(limit, fileEnd()))
    },
    moved() {
      if (!storing) makeRoom()
    },
    whole: () => list.whole(),
    settled: queue.settled,
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

type Done = (error: NodeJS.ErrnoException | null) => void

interface WriteQueue {
  /** The part must not change until `done`. */
  write: (part: Buffer, position: number, done: Done) => void
  /** Writes under way. */
  length: () => number
  /** Resolves once there is none. */
  settled: () => Promise<void>
}

/** Writes to one file, each at its own offset. */
function createWriteQueue(fd: number): WriteQueue {
  const waiting: (() => void)[] = []
  let length = 0
  return {
    write(part, position, done) {
      length += 1
      writeAll(fd, part, position, (error) => {
        length -= 1
        done(error)
        if (length === 0) for (const resolve of waiting.splice(0)) resolve()
      })
    },
    length: () => length,
    settled: async () =>
      length === 0 ? undefined : new Promise((resolve) => void waiting.push(resolve)),
  }
}

/** A file takes less than it is given where the disk is nearly full. */
function writeAll(fd: number, part: Buffer, position: number, done: Done): void {
  write(fd, part, 0, part.length, position, (error, written) => {
    if (error !== null || written === part.length) done(error)
    else writeAll(fd, part.subarray(written), position + written, done)
  })
}
