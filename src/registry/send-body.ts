// Sends large content: one buffer for each connection, one read or one write under way at a time.
//
// States: reading or writing, which have the buffer; over, by its end, a failure or a client that left.
// The head goes out with the first byte, or when that takes long; the content is closed once it is over.
import type { ServerResponse } from 'node:http'
import type { Large } from '../cache/cache.ts'
import { GatewayError } from '../errors.ts'
import { clientLeft } from './request-record.ts'

/** Bytes of one read and of one write: 64 KiB cost 1.7 times as much CPU (thread-pool hops). */
const bufferSize = 256 * 1024
/** Buffers kept for the next connections. */
const kept = 64
/** How long the head waits for the first byte, ms: with it goes a failure as a proper answer. */
const headWait = 1000

export interface Transfer {
  res: ServerResponse
  content: Pick<Large, 'read' | 'onBroken' | 'isPassedOn' | 'close'>
  /** Offset of the first byte that is wanted. */
  from: number
  /** Offset behind the last one; undefined for all of content whose size is not known. */
  to: number | undefined
  /** Writes the head; called once, before anything is sent. */
  begin: () => void
  /** Called once: bytes sent, and what went wrong. The content is closed by then. */
  done: (bytes: number, error?: unknown) => void
}

type Give = (buffer: Buffer) => void
type CountBytes = (bytes: number) => void

/**
 * Returns what starts a transfer. Buffers go from one to the next.
 * @param onLeft told how many more or fewer bytes are left to be sent, where their number is known
 */
export function createSender(onLeft: CountBytes = () => undefined): (transfer: Transfer) => void {
  const free: Buffer[] = []
  const take = () => free.pop() ?? Buffer.allocUnsafeSlow(bufferSize)
  const give: Give = (buffer) => {
    if (free.length < kept) free.push(buffer)
  }
  return (transfer) => {
    const { from, to, done } = transfer
    const whole = to === undefined ? undefined : to - from
    if (whole === undefined) {
      send(transfer, take(), give, () => undefined)
      return
    }
    onLeft(whole)
    const counted: Transfer['done'] = (bytes, error) => {
      onLeft(bytes - whole)
      done(bytes, error)
    }
    send({ ...transfer, done: counted }, take(), give, (bytes) => onLeft(-bytes))
  }
}

function send(transfer: Transfer, buffer: Buffer, give: Give, onSent: CountBytes): void {
  const { res, content, from, to, done } = transfer
  const head = createHead(transfer)
  let position = from
  /** A read or a write has the buffer. */
  let busy = false
  let over = false

  function finish(error?: unknown): void {
    if (over) return
    over = true
    head.forget()
    res.off('close', closed)
    content.close()
    // Whoever still has the buffer may write to it: it is left to the garbage collector.
    if (!busy) give(buffer)
    done(position - from, error)
  }

  function closed(): void {
    finish(clientLeft())
  }

  function next(): void {
    try {
      const wanted = to === undefined ? bufferSize : Math.min(bufferSize, to - position)
      const part = wanted === bufferSize ? buffer : buffer.subarray(0, wanted)
      const read = content.read(part, position, to)
      if (typeof read === 'number') {
        got(read)
        return
      }
      busy = true
      head.await()
      read.then(gotLater, failed)
    } catch (error) {
      finish(error)
    }
  }

  function gotLater(bytes: number): void {
    busy = false
    if (over) give(buffer)
    else got(bytes)
  }

  function failed(error: unknown): void {
    busy = false
    if (over) give(buffer)
    else finish(error)
  }

  function got(bytes: number): void {
    head.write()
    if (bytes === 0) {
      end()
      return
    }
    position += bytes
    onSent(bytes)
    busy = true
    res.write(bytes === bufferSize ? buffer : buffer.subarray(0, bytes), wrote)
  }

  function wrote(error?: Error | null): void {
    busy = false
    if (over) give(buffer)
    else if (error) closed()
    else if (position === to) end()
    else next()
  }

  function end(): void {
    if (to !== undefined && position !== to) {
      finish(new GatewayError('INTERNAL', 'the content ended early'))
      return
    }
    res.off('close', closed)
    res.end()
    finish()
  }

  res.once('close', closed)
  if (res.destroyed) {
    closed()
    return
  }
  content.onBroken?.(finish)
  // Also where no byte is wanted: only a read tells that an empty body is right.
  next()
}

/** The head goes out with the first byte, or when that takes long. */
function createHead({ res, begin }: Transfer) {
  let begun = false
  let timer: NodeJS.Timeout | undefined

  function write(): void {
    if (begun) return
    begun = true
    clearTimeout(timer)
    begin()
  }

  return {
    write,
    await() {
      if (begun) return
      timer ??= setTimeout(() => {
        write()
        res.flushHeaders()
      }, headWait)
    },
    forget: () => clearTimeout(timer),
  }
}
