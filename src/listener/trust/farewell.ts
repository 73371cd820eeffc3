// Ends connections whose client certificate is about to end, each once it is idle.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { ClientGuard } from './client-guard.ts'

export interface FarewellOptions {
  /** The open connections of a TLS server. */
  connections: ReadonlySet<Socket>
  guard: ClientGuard
  /** The response that a connection is busy with. */
  responseOn: (socket: Socket) => ServerResponse | undefined
}

const lookEvery = 1000

/** Looks every second, until the returned function is called. */
export function closeSpentConnections({ connections, guard, responseOn }: FarewellOptions) {
  const leaving = new WeakSet<Socket>()
  const timer = setInterval(() => {
    const now = Date.now()
    for (const socket of connections) {
      if (leaving.has(socket) || !guard.isSpent(socket as TLSSocket, now)) continue
      leaving.add(socket)
      const response = responseOn(socket)
      if (response === undefined) socket.destroySoon()
      else response.once('finish', () => socket.destroySoon())
    }
  }, lookEvery)
  timer.unref()
  return () => clearInterval(timer)
}
