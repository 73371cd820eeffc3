// Sends large content: what is in memory from there, anything else by way of one buffer for each connection; one read
// or one write under way at a time.
//
// States: waiting, reading or writing; over, by its end, a failure or a client that left.
// The head goes out with the first byte, or when that takes long; the content is closed once it is over.
import type { ServerResponse } from 'node:http'
import type { Large, Loan } from '../cache/cache.ts'
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
  content: Pick<Large, 'read' | 'lend' | 'onBroken' | 'isPassedOn' | 'close'>
  /** Offset of the first byte that is wanted. */
  from: number
  /** Offset behind the last one; undefined for all of content whose size is not known. */
  to: number | undefined
  /** Writes the head; called once, before anything is sent. */
  begin: () => void
  /** Called once: bytes sent, and what went wrong. The content is closed by then. */
  done: (bytes: number, error?: unknown) => void
}

interface Pool {
  take: () => Buffer
  give: (buffer: Buffer) => void
}

type CountBytes = (bytes: number) => void

/**
 * Returns what starts a transfer. Buffers go from one to the next.
 * @param onLeft told how many more or fewer bytes are left to be sent, where their number is known
 */
export function createSender(onLeft: CountBytes = () => undefined): (transfer: Transfer) => void {
  const free: Buffer[] = []
  const pool: Pool = {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(bufferSize),
    give(buffer) {
      if (free.length < kept) free.push(buffer)
    },
  }
  return (transfer) => {
    const { from, to, done } = transfer
    const whole = to === undefined ? undefined : to - from
    if (whole === undefined) {
      send(transfer, pool, () => undefined)
      return
    }
    onLeft(whole)
    const counted: Transfer['done'] = (bytes, error) => {
      onLeft(bytes - whole)
      done(bytes, error)
    }
    send({ ...transfer, done: counted }, pool, (bytes) => onLeft(-bytes))
  }
}

function send(transfer: Transfer, pool: Pool, onSent: CountBytes): void {
  const { res, content, from, to, done } = transfer
  const head = createHead(transfer)
  const pieces = createPieces(content, pool)
  let position = from
  let over = false

  function finish(error?: unknown): void {
    if (over) return
    over = true
    head.forget()
    res.off('close', closed)
    content.close()
    pieces.end()
    done(position - from, error)
  }

  function closed(): void {
    finish(clientLeft())
  }

  function next(): void {
    try {
      const piece = pieces.next(position, to)
      if (piece instanceof Promise) {
        head.await()
        piece.then(got, finish)
      } else got(piece)
    } catch (error) {
      finish(error)
    }
  }

  function got(piece: Loan | undefined): void {
    if (over) {
      piece?.giveBack()
      return
    }
    head.write()
    if (piece === undefined) {
      end()
      return
    }
    position += piece.bytes.length
    onSent(piece.bytes.length)
    res.write(piece.bytes, (error) => {
      piece.giveBack()
      if (over) return
      if (error) closed()
      else if (position === to) end()
      else next()
    })
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

/**
 * What is sent, piece by piece: lent by the content, or read into a buffer that is taken once that is needed, and goes back
 * to the pool when neither the transfer nor a read or a write under way has it any more.
 */
function createPieces(content: Transfer['content'], { take, give }: Pool) {
  let buffer: Buffer | undefined
  let isUsed = false
  let isOver = false

  function giveBack(): void {
    isUsed = false
    if (!isOver || buffer === undefined) return
    give(buffer)
    buffer = undefined
  }

  function read(position: number, to: number | undefined) {
    if (isOver) return undefined
    isUsed = true
    buffer ??= take()
    const part = to === undefined ? buffer : buffer.subarray(0, to - position)
    const got = (bytes: number): Loan | undefined => {
      if (bytes > 0) return { bytes: part.subarray(0, bytes), giveBack }
      giveBack()
      return undefined
    }
    const failed = (error: unknown): never => {
      giveBack()
      throw error
    }
    try {
      const bytes = content.read(part, position, to)
      return typeof bytes === 'number' ? got(bytes) : bytes.then(got, failed)
    } catch (error) {
      return failed(error)
    }
  }

  return {
    /** undefined: there is no more. */
    next(position: number, to: number | undefined): Loan | undefined | Promise<Loan | undefined> {
      const lent = content.lend?.(position, to) ?? false
      const orRead = (loan: Loan | false) => (loan === false ? read(position, to) : loan)
      return lent instanceof Promise ? lent.then(orRead) : orRead(lent)
    },
    end(): void {
      isOver = true
      if (!isUsed) giveBack()
    },
  }
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
