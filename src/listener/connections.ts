// Knows every connection of a server from its first packet on, and ends those that come to nothing.
import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** How long a handshake may take, ms. */
const handshakeTimeout = 10_000

/** Handshakes that take too long are looked for at most so often, ms. */
const sweepPause = 250

export interface Connections {
  /** Those that may carry requests. */
  ready: Set<Socket>
  /** TCP connections below an unfinished handshake, the oldest first, with when they came. */
  handshakes: Map<Socket, number>
  /** TCP connections that were ended before they could carry a request. */
  ended: WeakSet<Socket>
}

type Tracked = Server & { [known]?: Connections }

const known = Symbol('connections')

/** The connections of a server of `trackConnections`. */
export function connectionsOf(server: Tracked): Connections {
  return (server[known] ??= { ready: new Set(), handshakes: new Map(), ended: new WeakSet() })
}

export interface TrackingOptions {
  /** Whether a connection begins with a TLS handshake. */
  secure: boolean
  /** Told why a connection was ended before it could carry a request, and where it came from. */
  onEnded: (reason: string, source: string) => void
}

/**
 * Keeps account of the connections of `server`. A handshake that is not finished in time is ended,
 * whatever its client does.
 */
export function trackConnections(server: Tracked, { secure, onEnded }: TrackingOptions): void {
  const { ready, handshakes, ended } = connectionsOf(server)
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

  function begun(socket: Socket): void {
    handshakes.set(socket, Date.now())
    socket.once('close', () => handshakes.delete(socket))
    sweepLater()
  }

  function finished(socket: Socket): void {
    if (secure) handshakes.delete(transportOf(socket as TLSSocket))
    ready.add(socket)
    socket.once('close', () => ready.delete(socket))
  }

  if (secure) server.on('connection', begun)
  server.on(secure ? 'secureConnection' : 'connection', finished)
}

/** The TCP connection below a TLS one; Node has no public name for it. */
export function transportOf(socket: TLSSocket): Socket {
  return (socket as { _parent?: Socket | null })._parent ?? socket
}
