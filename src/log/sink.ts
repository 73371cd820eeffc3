// Lines on their way to a file or a pipe: gathered in buffers, written one after the other in the
// background, so that whoever logs never waits for whoever reads.
import { write, writev, writeSync } from 'node:fs'

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
/**
 * Buffers of one write, at most. Each write takes a turn of the event loop, in which hundreds of busy connections
 * fill a dozen: written one by one they would pile up, and lines be lost, however fast the reader is.
 */
const mostAtOnce = 64
/** Buffers kept for what comes next: as many as such a turn fills. */
const mostSpare = 16
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

/** Bytes of a buffer that are to be written yet. */
interface Piece {
  buffer: Buffer
  from: number
  to: number
}

/** Writes buffers one after the other, as many at once as there are, and gives them back when they are written. */
function createWriter(fd: number) {
  const queue = createQueue()
  /** Those at its front that are being written. */
  let busy = 0
  let isClosed = false
  let retry: NodeJS.Timeout | undefined

  function next(): void {
    const first = queue.first()
    if (busy > 0 || retry !== undefined || first === undefined) return
    const pieces = queue.front(mostAtOnce)
    busy = pieces.length
    if (busy === 1) write(fd, first.buffer, first.from, first.to - first.from, null, wrote)
    else writev(fd, pieces.map(viewOf), null, wrote)
  }

  function wrote(error: NodeJS.ErrnoException | null, bytes: number): void {
    busy = 0
    if (error === null) queue.advance(bytes)
    else if (error.code !== 'EAGAIN') queue.drop()
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

  /** What is being written goes first: its end comes back here. */
  function writeAll(): void {
    if (busy > 0) return
    let tries = 0
    for (let first = queue.first(); first !== undefined; first = queue.first()) {
      try {
        queue.advance(writeSync(fd, first.buffer, first.from, first.to - first.from))
        tries = 0
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === 'EAGAIN'
        if (isFull && tries < lastTries) {
          tries += 1
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryAfter)
        } else queue.drop()
      }
    }
  }

  function close(): void {
    isClosed = true
    clearTimeout(retry)
    writeAll()
  }

  return {
    empty: queue.empty,
    waiting: queue.waiting,
    /** @param length bytes of `buffer`, which is the writer's from now on */
    write(buffer: Buffer, length: number): void {
      queue.push({ buffer, from: 0, to: length })
      goOn()
    },
    close,
    exit(): void {
      for (; busy > 0; busy -= 1) queue.drop()
      close()
    },
  }
}

/** What is to be written, in order; buffers that are written serve again. */
function createQueue() {
  const spare: Buffer[] = []
  const pieces: Piece[] = []
  let waiting = 0

  /** So many bytes are written. */
  function advance(bytes: number): void {
    waiting -= bytes
    for (let left = bytes; pieces[0] !== undefined;) {
      const [first] = pieces
      const size = first.to - first.from
      if (left < size) {
        first.from += left
        return
      }
      left -= size
      pieces.shift()
      const isKept = spare.length < mostSpare && first.buffer.length === bufferSize
      if (isKept) spare.push(first.buffer)
    }
  }

  return {
    empty: (): Buffer => spare.pop() ?? Buffer.allocUnsafeSlow(bufferSize),
    waiting: () => waiting,
    first: () => pieces[0],
    front: (most: number) => pieces.slice(0, most),
    push(piece: Piece): void {
      pieces.push(piece)
      waiting += piece.to - piece.from
    },
    advance,
    drop(): void {
      const [first] = pieces
      if (first !== undefined) advance(first.to - first.from)
    },
  }
}

function viewOf({ buffer, from, to }: Piece): Buffer {
  return buffer.subarray(from, to)
}
