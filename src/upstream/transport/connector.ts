// Connections that are read into one buffer of their own. A stream makes a new one outside of the heap
// for every TLS record, and their sum starts full collections: they cost more than all the rest of a
// download.
import { Socket } from 'node:net'
import type { buildConnector as BuildConnector } from 'undici'
import { buildConnector } from '../../rules/rare/connections.ts'

/** Bytes of one read at most: that of a plain connection; TLS gives 16 KiB. */
const readSize = 64 * 1024

/** So much of an answer is copied: undici keeps the pieces of a head until all of it is there. */
const copiedSize = 64 * 1024

/**
 * A connector whose connections give chunks that are good until the call that has got them returns.
 * What arrives while nobody reads is copied and waits in the stream. Through a tunnel connections
 * read as Node does, because it takes no buffer for them.
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

function createReading() {
  const buffer = Buffer.allocUnsafeSlow(readSize)
  let socket: Socket | undefined
  /** What has just arrived, for whoever reads now. */
  let arrived: Buffer | null = null
  let written = 0
  let toCopy = copiedSize

  /** Returns false when the stream has enough. */
  function callback(length: number): boolean {
    if (socket === undefined) throw new Error('data before there was a connection')
    if (socket.bytesWritten !== written) {
      written = socket.bytesWritten
      toCopy = copiedSize
    }
    const chunk = buffer.subarray(0, length)
    // In order: behind what waits already.
    if (socket.readableLength > 0) return socket.push(Buffer.from(chunk))
    arrived = toCopy > 0 ? Buffer.from(chunk) : chunk
    toCopy -= length
    socket.emit('readable')
    const left = arrived
    arrived = null
    if (left === null || socket.destroyed) return true
    return socket.push(left === chunk ? Buffer.from(chunk) : left)
  }

  function attach(made: Socket): void {
    socket = made
    const read = made.read.bind(made)
    const unshift = made.unshift.bind(made)
    made.read = (size) => {
      if (arrived === null) return read(size) as unknown
      const chunk = arrived
      arrived = null
      return chunk
    }
    made.unshift = (chunk: Buffer) =>
      unshift(chunk.buffer === buffer.buffer ? Buffer.from(chunk) : chunk)
  }

  return { onread: { buffer, callback }, attach }
}
