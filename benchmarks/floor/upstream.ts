// Asks the upstream over `node:tls`, with no HTTP library: a request is written, its head is skipped, and what follows
// is read into one buffer for each connection.
import type { OnReadOpts } from 'node:net'
import { connect, type ConnectionOptions } from 'node:tls'

export interface Receiver {
  /** Bytes that will come. */
  head: (size: number) => void
  /** Good until it returns. */
  data: (chunk: Buffer) => void
  end: () => void
}

export interface Flow {
  pause: () => void
  resume: () => void
}

export type Upstream = (path: string, receiver: Receiver) => Flow

interface Connection extends Flow {
  ask: Upstream
}

const endOfHead = Buffer.from('\r\n\r\n')

/** Connections are kept, as many as are in use at once. */
export function createUpstream(options: ConnectionOptions): Upstream {
  const free: Connection[] = []
  return (path, receiver) => {
    const connection = free.pop() ?? createConnection(options)
    return connection.ask(path, {
      ...receiver,
      end() {
        free.push(connection)
        receiver.end()
      },
    })
  }
}

function createConnection(options: ConnectionOptions): Connection {
  let receiver: Receiver | undefined
  let left = -1
  let isPaused = false
  const onread: OnReadOpts = {
    buffer: Buffer.allocUnsafeSlow(64 * 1024),
    callback(length, buffer) {
      received(Buffer.from(buffer.buffer, buffer.byteOffset, length))
      return !isPaused
    },
  }
  const fixed = { host: '127.0.0.1', minVersion: 'TLSv1.3', onread } as const
  const socket = connect({ ...fixed, ...options })
  socket.setNoDelay(true)

  function received(chunk: Buffer): void {
    let body = chunk
    if (left < 0) {
      // nginx sends a head in one piece.
      const end = chunk.indexOf(endOfHead)
      left = Number(/^content-length: *(\d+)/im.exec(chunk.toString('latin1', 0, end))?.[1])
      receiver?.head(left)
      body = chunk.subarray(end + endOfHead.length)
    }
    left -= body.length
    if (body.length > 0) receiver?.data(body)
    if (left > 0) return
    left = -1
    receiver?.end()
  }

  const flow = {
    pause: () => void (isPaused = true),
    resume() {
      if (!isPaused) return
      isPaused = false
      socket.resume()
    },
  }
  return {
    ...flow,
    ask(path, next) {
      receiver = next
      flow.resume()
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`, 'latin1')
      return flow
    },
  }
}

/** Gives what it has in memory, in pieces of a TLS record. */
export function createUpstreamInMemory(size: number): Upstream {
  const record = Buffer.alloc(16 * 1024)
  return (_path, receiver) => {
    const state = { left: size, isPaused: false, isRunning: false }
    function run(): void {
      if (state.isRunning) return
      state.isRunning = true
      while (state.left > 0 && !state.isPaused) {
        const chunk = state.left < record.length ? record.subarray(0, state.left) : record
        state.left -= chunk.length
        receiver.data(chunk)
        if (state.left === 0) receiver.end()
      }
      state.isRunning = false
    }
    setImmediate(() => {
      receiver.head(size)
      run()
    })
    return {
      pause: () => void (state.isPaused = true),
      resume() {
        state.isPaused = false
        run()
      },
    }
  }
}
