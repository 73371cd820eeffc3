// Ends a server in order: nothing new, what runs may end, and after a while nothing at all.
import { Server } from 'node:net'
import { responseOn } from './bad-request.ts'
import { connectionsOf } from './connections.ts'
import type { ListenerServer } from './server.ts'

/** A client that has connected may be about to send its next request. */
const silentMs = 1000
const sweepMs = 100

/**
 * Stops accepting, closes unfinished handshakes at once and idle connections soon, and resolves when
 * the last transfer has ended. After `graceMs` milliseconds what is left is destroyed. Resolves to
 * the number of transfers that were cut by that.
 */
export async function drain(server: ListenerServer, graceMs: number): Promise<number> {
  if (!server.listening) return 0
  const { ready, handshakes } = connectionsOf(server)
  let cut = 0
  const started = Date.now()
  // Responses sent from now on say so, and their connections are closed behind them.
  server.prependListener('request', (_req, res) => void res.setHeader('connection', 'close'))
  const closed = new Promise<void>((resolve) => {
    // Not the HTTP server's own `close`: it cuts answers whose last piece is on its way still, and
    // does not look any more for requests that never arrive.
    Server.prototype.close.call(server, () => resolve())
  })
  for (const socket of handshakes.keys()) socket.destroy()
  const sweep = setInterval(() => {
    if (Date.now() - started < silentMs) return
    for (const socket of ready) {
      if (responseOn(socket) === undefined && !socket.writableEnded) socket.destroySoon()
    }
  }, sweepMs)
  const end = setTimeout(() => {
    for (const socket of ready) {
      if (responseOn(socket) !== undefined) cut += 1
      socket.destroy()
    }
    for (const socket of handshakes.keys()) socket.destroy()
  }, graceMs)
  await closed
  clearInterval(sweep)
  clearTimeout(end)
  return cut
}
