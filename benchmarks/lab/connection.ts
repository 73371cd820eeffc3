// One connection of the load client: as little as can be between a socket and a count of bytes, so
// that the server is what a benchmark measures.
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import type { OnReadOpts } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'

export interface Identity {
  ca: string
  cert: string
  key: string
}

/** A request, ready to be written. */
export interface Prepared {
  bytes: Buffer
  isHead: boolean
  /** What the body has to hash to, in hexadecimal. */
  sha256?: string
}

export interface Answered {
  /** Bytes of the body. */
  bytes: number
  /** Milliseconds until the first byte of the body, or until the head where there is none. */
  firstByte: number
  /** When it was asked, by `performance.now()`. */
  askedAt: number
}

export interface Connection {
  /** One request at a time. Calls back when the last byte has come, or with what went wrong. */
  ask: (request: Prepared, done: (error: Error | undefined, answered: Answered) => void) => void
  close: () => void
}

/** The same for every server: what is to be compared is not the cipher. */
const fixed = {
  host: '127.0.0.1',
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
  ecdhCurve: 'X25519',
} as const

const endOfHead = Buffer.from('\r\n\r\n')

/** One for all connections: what has arrived is counted before anything else happens. */
const arrival = Buffer.allocUnsafeSlow(256 * 1024)

/** Resolves after the handshake, in which the client has shown its certificate. */
export async function openConnection(port: number, identity: Identity): Promise<Connection> {
  let received: (chunk: Buffer) => void = () => undefined
  const onread: OnReadOpts = {
    buffer: arrival,
    callback(length, buffer) {
      received(Buffer.from(buffer.buffer, buffer.byteOffset, length))
      return true
    },
  }
  // An option of net.connect that tls.connect passes on, as its documentation says.
  const options = { ...fixed, ...identity, port, onread }
  const socket = connect(options)
  await once(socket, 'secureConnect')
  socket.setNoDelay(true)
  const reader = createReader(socket)
  received = reader.received
  return { ask: reader.ask, close: () => socket.destroy() }
}

/** A full handshake, and then the end of the connection. */
export async function shakeHands(port: number, identity: Identity): Promise<void> {
  const socket = connect({ ...fixed, ...identity, port })
  socket.resume()
  const closed = once(socket, 'close')
  await once(socket, 'secureConnect')
  // The server has to take the client's certificate before it comes to the end that is told after it.
  socket.end()
  await closed
}

function createReader(socket: TLSSocket) {
  let done: Parameters<Connection['ask']>[1] | undefined
  let isHead = false
  let asked = 0
  let expected: string | undefined
  let hash: Hash | undefined
  let head: Buffer | undefined
  let left = -1
  let answered: Answered = { bytes: 0, firstByte: 0, askedAt: 0 }

  function fail(error: Error): void {
    const callback = done
    done = undefined
    callback?.(error, answered)
  }

  function received(chunk: Buffer): void {
    let body = chunk
    if (left < 0) {
      const whole = head === undefined ? chunk : Buffer.concat([head, chunk])
      const end = whole.indexOf(endOfHead)
      if (end < 0) {
        head = Buffer.from(whole)
        return
      }
      head = undefined
      const text = whole.toString('latin1', 0, end)
      const length = /^content-length: *(\d+)/im.exec(text)?.[1]
      if (!text.startsWith('HTTP/1.1 200') || length === undefined) {
        fail(new Error(`the server answered\n${text}`))
        return
      }
      left = isHead ? 0 : Number(length)
      body = whole.subarray(end + endOfHead.length)
      answered = { bytes: left, firstByte: 0, askedAt: asked }
    }
    if (answered.firstByte === 0 && (body.length > 0 || left === 0)) {
      answered.firstByte = performance.now() - asked
    }
    hash?.update(body)
    left -= body.length
    if (left > 0) return
    left = -1
    if (hash !== undefined && hash.digest('hex') !== expected) {
      fail(new Error(`the server sent other content than ${expected}`))
      return
    }
    const callback = done
    done = undefined
    callback?.(undefined, answered)
  }

  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))
  return {
    received,
    ask: (request: Prepared, callback: NonNullable<typeof done>) => {
      done = callback
      isHead = request.isHead
      expected = request.sha256
      hash = expected === undefined ? undefined : createHash('sha256')
      asked = performance.now()
      socket.write(request.bytes)
    },
  }
}
