// Lines on their way to a file or a pipe: gathered in buffers, written one after the other in the
// background, so that whoever logs never waits for whoever reads.
import { write, writeSync } from 'node:fs'

export interface LineSink {
  /** Takes one line with its end. */
  write: (line: string) => void
  /** Begins to write what has been gathered. */
  flush: () => void
  /** Writes what is there, as far as it is taken; what comes later goes out at once. */
  close: () => void
  /** The same where the process ends at once: what is being written is left to itself. */
  exit: () => void
}

/** Bytes gathered for one write: one for each line would cost more than the request that it tells of. */
const bufferSize = 16 * 1024
/** Bytes that wait for a reader that takes none; what comes on top is lost, and counted. */
const mostWaiting = 16 * 2 ** 20
/** How long to wait where a pipe is full, ms. */
const retryAfter = 10
/** So often it is tried again at the end. */
const lastTries = 100

/**
 * A sink that writes to `fd`, which stays open. A reader that has gone away, as `| head` does, is no
 * error: what it does not take is dropped.
 * @param onLost makes the line that tells of lines that were lost
 */
export function createSink(fd: number, onLost: (lines: number) => string): LineSink {
  const writer = createWriter(fd)
  let current = writer.empty()
  let filled = 0
  let lost = 0
  let isClosed = false

  function gather(line: string): void {
    // A unit of UTF-16 has three bytes of UTF-8 at most.
    if (line.length * 3 > bufferSize - filled) {
      const length = Buffer.byteLength(line)
      if (length > bufferSize - filled) turn()
      if (length > bufferSize) {
        writer.write(Buffer.from(line), length)
        return
      }
    }
    filled += current.write(line, filled)
  }

  /** Goes on with another buffer. */
  function turn(): void {
    if (filled === 0) return
    writer.write(current, filled)
    current = writer.empty()
    filled = 0
  }

  function end(close: () => void): void {
    turn()
    isClosed = true
    close()
  }

  return {
    write(line) {
      if (writer.waiting() > mostWaiting) {
        lost += 1
        return
      }
      if (lost > 0) gather(onLost(lost))
      lost = 0
      gather(line)
      if (isClosed) turn()
    },
    flush: turn,
    close: () => end(() => writer.close()),
    exit: () => end(() => writer.exit()),
  }
}

/** Writes buffers one after the other, and gives them back when they are written. */
function createWriter(fd: number) {
  const spare: Buffer[] = []
  /** In order; the first one is being written. */
  const queue: { buffer: Buffer; from: number; to: number }[] = []
  let waiting = 0
  let isBusy = false
  let isClosed = false
  let retry: NodeJS.Timeout | undefined

  function next(): void {
    const [first] = queue
    if (isBusy || retry !== undefined || first === undefined) return
    isBusy = true
    write(fd, first.buffer, first.from, first.to - first.from, null, wrote)
  }

  function wrote(error: NodeJS.ErrnoException | null, bytes: number): void {
    isBusy = false
    if (error === null) advance(bytes)
    else if (error.code !== 'EAGAIN') drop()
    else if (!isClosed) retry = setTimeout(again, retryAfter)
    goOn()
  }

  function again(): void {
    retry = undefined
    goOn()
  }

  function goOn(): void {
    if (isClosed) writeAll()
    else next()
  }

  /** So many bytes of the first buffer are written. */
  function advance(bytes: number): void {
    const [first] = queue
    if (first === undefined) return
    first.from += bytes
    waiting -= bytes
    if (first.from < first.to) return
    queue.shift()
    if (spare.length === 0 && first.buffer.length === bufferSize) spare.push(first.buffer)
  }

  function drop(): void {
    const [first] = queue
    if (first !== undefined) advance(first.to - first.from)
  }

  /** What is being written goes first: its end comes back here. */
  function writeAll(): void {
    if (isBusy) return
    for (let tries = 0; queue[0] !== undefined;) {
      const { buffer, from, to } = queue[0]
      try {
        advance(writeSync(fd, buffer, from, to - from))
        tries = 0
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === 'EAGAIN'
        if (isFull && tries < lastTries) {
          tries += 1
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryAfter)
        } else drop()
      }
    }
  }

  function close(): void {
    isClosed = true
    clearTimeout(retry)
    writeAll()
  }

  return {
    empty: (): Buffer => spare.pop() ?? Buffer.allocUnsafeSlow(bufferSize),
    waiting: () => waiting,
    /** @param length bytes of `buffer`, which is the writer's from now on */
    write(buffer: Buffer, length: number): void {
      queue.push({ buffer, from: 0, to: length })
      waiting += length
      goOn()
    },
    close,
    exit(): void {
      if (isBusy) drop()
      isBusy = false
      close()
    },
  }
}
