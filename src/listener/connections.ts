// Knows every connection of a server from its first packet on, and ends those that come to nothing.
import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { ListenLimits } from '../config/schema.ts'
import { networkOf } from '../rules/network.ts'

/** How long a handshake may take, ms. */
const handshakeTimeout = 10_000

/** Handshakes that take too long are looked for at most so often, ms. */
const sweepPause = 250

export interface Connections {
  /** Those that may carry requests. */
  ready: Set<Socket>
  /** TCP connections below an unfinished handshake, the oldest first, with when they came. */
  handshakes: Map<Socket, number>
  /** How many there are of each network, unfinished handshakes included. */
  networks: Map<string, number>
  /** TCP connections that were ended before they could carry a request. */
  ended: WeakSet<Socket>
}

type Tracked = Server & { [known]?: Connections }

const known = Symbol('connections')

/** The connections of a server of `trackConnections`. */
export function connectionsOf(server: Tracked): Connections {
  return (server[known] ??= {
    ready: new Set(),
    handshakes: new Map(),
    networks: new Map(),
    ended: new WeakSet(),
  })
}

export interface TrackingOptions {
  /** Whether a connection begins with a TLS handshake. */
  secure: boolean
  limits: () => Pick<ListenLimits, 'connections' | 'connectionsPerAddress' | 'handshakes'>
  /** Told why a connection was ended before it could carry a request, and where it came from. */
  onEnded: (reason: string, source: string) => void
}

/**
 * Keeps account of the connections of `server`. A handshake that is not finished in time is ended,
 * whatever its client does; so is what goes beyond the limits, of handshakes the oldest.
 */
export function trackConnections(server: Tracked, options: TrackingOptions): void {
  const { secure, limits, onEnded } = options
  const { ready, handshakes, networks, ended } = connectionsOf(server)
  let sweeping: NodeJS.Timeout | undefined

  function end(socket: Socket, reason: string): void {
    handshakes.delete(socket)
    ended.add(socket)
    onEnded(reason, socket.remoteAddress ?? 'unknown')
    socket.destroy()
  }

  function sweep(): void {
    sweeping = undefined
    const now = Date.now()
    for (const [socket, since] of handshakes) {
      if (now - since < handshakeTimeout) break
      end(socket, 'timeout')
    }
    sweepLater()
  }

  function sweepLater(): void {
    const [oldest] = handshakes.values()
    if (oldest === undefined) return
    const left = oldest + handshakeTimeout - Date.now()
    sweeping ??= setTimeout(sweep, Math.max(left, sweepPause)).unref()
  }

  function leave(network: string): void {
    const others = (networks.get(network) ?? 1) - 1
    if (others === 0) networks.delete(network)
    else networks.set(network, others)
  }

  function arrived(socket: Socket): void {
    server.maxConnections = limits().connections
    // Asked now, it is known to the report of a handshake that fails later.
    const network = networkOf(socket.remoteAddress ?? '')
    const count = (networks.get(network) ?? 0) + 1
    networks.set(network, count)
    socket.on('close', () => {
      leave(network)
      handshakes.delete(socket)
    })
    if (count > limits().connectionsPerAddress) end(socket, 'too_many_from_address')
    else if (secure) begun(socket)
    else finished(socket)
  }

  function begun(socket: Socket): void {
    const [oldest] = handshakes.keys()
    if (oldest !== undefined && handshakes.size >= limits().handshakes) {
      end(oldest, 'too_many_handshakes')
    }
    handshakes.set(socket, Date.now())
    sweepLater()
  }

  function finished(socket: Socket): void {
    if (secure) handshakes.delete(transportOf(socket as TLSSocket))
    ready.add(socket)
    socket.on('close', () => ready.delete(socket))
  }

  server.on('connection', arrived)
  if (secure) server.on('secureConnection', finished)
}

/** The TCP connection below a TLS one; Node has no public name for it. */
export function transportOf(socket: TLSSocket): Socket {
  return (socket as { _parent?: Socket | null })._parent ?? socket
}
