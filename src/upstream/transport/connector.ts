// Connections that are read into one buffer of their own. A stream makes a new one outside of the heap
// for every TLS record, and their sum starts full collections: they cost more than all the rest of a
// download.
import { Socket } from 'node:net'
import type { buildConnector as BuildConnector } from 'undici'
import { buildConnector } from '../../rules/rare/connections.ts'

/** Bytes of one read at most: that of a plain connection; TLS gives 16 KiB. */
const readSize = 64 * 1024

/** Bytes that are gathered within one turn before undici gets them, which costs the same for few and for many. */
const gathered = 128 * 1024

/** After so many one connection lets the others have their turn, and whoever is sent them, too. */
const perTurn = 256 * 1024

/** Room behind them, for what TLS has deciphered already when the connection is told to rest. */
const room = gathered + 2 * readSize

/** So much of an answer is copied: undici keeps the pieces of a head until all of it is there. */
const copiedSize = 64 * 1024

/**
 * A connector whose connections give chunks that are good until the call that has got them returns.
 * What arrives while nobody reads waits in the buffer, and the connection rests once there is enough. Through a tunnel
 * connections read as Node does, because it takes no buffer for them.
 */
export function createConnector(options: BuildConnector.BuildOptions): BuildConnector.connector {
  return (target, callback) => {
    const reading = createReading()
    const connect = buildConnector({ ...options, onread: reading.onread })
    // It returns the connection, which its type does not tell.
    const socket: unknown = connect(target, callback)
    if (!(socket instanceof Socket)) throw new TypeError('undici has made no connection')
    reading.attach(socket)
  }
}

/**
 * The first piece in a turn of the event loop is shown at once: it may be one that nobody has asked for, which has to
 * be known before a request is sent. What follows it in the same turn is gathered.
 */
function createReading() {
  const buffer = Buffer.allocUnsafeSlow(room)
  let socket: Socket | undefined
  /** What has arrived, and has not been read. */
  let [begin, end] = [0, 0]
  let turn: NodeJS.Immediate | undefined
  /** Bytes in this one. */
  let inTurn = 0
  /** Puts it into the stream, which is the queue of what finds no room. */
  let spill: () => void = () => undefined

  /** Whoever listens reads until there is nothing, which ends a rest. */
  function show(): void {
    if (socket?.destroyed === false) socket.emit('readable')
  }

  function endTurn(): void {
    turn = undefined
    inTurn = 0
    show()
  }

  /** Returns false when the connection is to rest until it is read from. */
  function callback(length: number): boolean {
    end += length
    inTurn += length
    if (turn === undefined) turn = setImmediate(endTurn)
    else if (end < gathered) return inTurn < perTurn
    show()
    return inTurn < perTurn && end - begin < gathered
  }

  /** Where the next piece goes. */
  function nextPart(): Buffer {
    if (begin < end && room - end < readSize) spill()
    if (begin === end) begin = end = 0
    return buffer.subarray(end, end + readSize)
  }

  function attach(made: Socket): void {
    socket = made
    const read = made.read.bind(made)
    const unshift = made.unshift.bind(made)
    const push = made.push.bind(made)
    let written = 0
    let toCopy = 0

    function take(): Buffer {
      if (made.bytesWritten !== written) {
        written = made.bytesWritten
        toCopy = copiedSize
      }
      const part = buffer.subarray(begin, end)
      begin = end
      toCopy -= part.length
      return toCopy + part.length > 0 ? Buffer.from(part) : part
    }

    spill = () => {
      push(Buffer.from(buffer.subarray(begin, end)))
      begin = end
    }
    // In order: first what waits in the stream. An empty one is asked, too, because that ends the rest.
    made.read = (size) =>
      begin === end || made.readableLength > 0 ? (read(size) as unknown) : take()
    made.unshift = (chunk: Buffer) =>
      unshift(chunk.buffer === buffer.buffer ? Buffer.from(chunk) : chunk)
    made.push = (chunk: Buffer | null) => {
      // The end comes behind all that was before it.
      if (chunk === null && begin < end) spill()
      return push(chunk)
    }
  }

  return { onread: { buffer: nextPart, callback }, attach }
}
