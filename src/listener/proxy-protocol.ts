// The PROXY protocol, version 2: a load balancer that passes TCP through says whom it speaks for.
// https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
import { isIPv6, SocketAddress, type Server, type Socket } from 'node:net'
import { addressList } from '../rules/network.ts'

export interface ProxyOptions {
  /** Addresses and networks of load balancers, as `10.0.0.0/8`. */
  trusted: readonly string[]
  /** Holds connections while their header is awaited, with when they came: whoever ends the server ends them. */
  waiting: Map<Socket, number>
  /** Told why a connection was ended, and where it came from. */
  onEnded: (reason: string, source: string) => void
}

/** Whom a connection is of. */
interface Peer {
  address: string
  family: 'IPv4' | 'IPv6'
  port: number
}

type Told = { kind: 'peer'; peer: Peer } | { kind: 'own' } | { kind: 'wrong' }

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const headBytes = 16
/** Addresses take 36 bytes; what a load balancer adds is not read. */
const largestBody = 4096
const headerTimeout = 10_000

/**
 * From a trusted address each connection has to begin with a header, and is of whom that names from
 * then on. Any other address is not asked for one, and not believed. To be called last of what makes
 * `server`: nothing else hears of a connection before its header was read.
 */
export function takeProxyHeaders(
  server: Server,
  { trusted, waiting, onEnded }: ProxyOptions,
): void {
  if (trusted.length === 0) return
  const proxies = addressList(trusted)
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean
  server.emit = ((event: string, ...args: unknown[]) => {
    const [socket] = args as [Socket]
    const source = event === 'connection' ? socket.remoteAddress : undefined
    if (source === undefined || !proxies.check(source, isIPv6(source) ? 'ipv6' : 'ipv4')) {
      return emit(event, ...args)
    }
    waiting.set(socket, Date.now())
    readHeader(socket, {
      onOver: () => waiting.delete(socket),
      onEnded: (reason) => onEnded(reason, source),
      onRead: () => void emit(event, socket),
    })
    return true
  }) as Server['emit']
}

function readHeader(
  socket: Socket,
  listener: { onOver: () => void; onEnded: (reason: string) => void; onRead: () => void },
): void {
  let head: Buffer | null = null

  function over(): void {
    clearTimeout(timer)
    listener.onOver()
    socket.off('readable', look).off('error', ignore).off('end', left).off('close', over)
  }

  function end(reason: string): void {
    over()
    listener.onEnded(reason)
    // What comes after is of no interest, an error least of all.
    socket.on('error', ignore).destroy()
  }

  function left(): void {
    end('closed_by_client')
  }

  function look(): void {
    head ??= socket.read(headBytes) as Buffer | null
    if (head === null) return
    const length = bodyLength(head)
    if (length === undefined) return end('bad_proxy_header')
    const body = length === 0 ? Buffer.alloc(0) : (socket.read(length) as Buffer | null)
    if (body === null) return
    const told = peerIn(head, body)
    if (told.kind === 'wrong') return end('bad_proxy_header')
    over()
    if (told.kind === 'peer') speakFor(socket, told.peer)
    listener.onRead()
  }

  const timer = setTimeout(() => end('timeout'), headerTimeout).unref()
  socket.on('readable', look).on('error', ignore).on('end', left).on('close', over)
}

function ignore(): void {
  // A connection that breaks ends, which is noticed.
}

/** Undefined for what does not begin a header of version 2. */
function bodyLength(head: Buffer): number | undefined {
  if (head.length !== headBytes || !head.subarray(0, signature.length).equals(signature)) {
    return undefined
  }
  const length = head.readUInt16BE(14)
  return head.readUInt8(12) >> 4 === 2 && length <= largestBody ? length : undefined
}

/** `own`: the load balancer speaks for itself, as its health checks do, or names nobody. */
function peerIn(head: Buffer, body: Buffer): Told {
  const [command, transport] = [head.readUInt8(12) & 0x0f, head.readUInt8(13)]
  if (command === 0 || transport === 0) return { kind: 'own' }
  const size = { 0x11: 4, 0x21: 16 }[transport]
  if (command !== 1 || size === undefined || body.length < 2 * size + 4) return { kind: 'wrong' }
  const bytes = body.subarray(0, size)
  const port = body.readUInt16BE(2 * size)
  if (size === 4) return { kind: 'peer', peer: { address: bytes.join('.'), family: 'IPv4', port } }
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16))
  const { address } = new SocketAddress({ address: groups.join(':'), family: 'ipv6' })
  return { kind: 'peer', peer: { address, family: 'IPv6', port } }
}

/** Who asks the socket for its peer, or the TLS socket above it, hears of `peer`; that costs no request anything. */
function speakFor(
  socket: Socket & {
    _handle?: { getpeername: (out: object) => number }
    _peername?: object | undefined
  },
  peer: Peer,
): void {
  if (socket._handle === undefined) return
  // What was asked before is remembered.
  socket._peername = undefined
  socket._handle.getpeername = (out) => {
    Object.assign(out, peer)
    return 0
  }
}
