// The orderly end of a server: nothing new, what runs may end, and after a while nothing at all.
import { responseOn } from './bad-request.ts'
import { connectionsOf, type ListenerServer } from './server.ts'

/** A client that has connected may be about to send its first request. */
const silentMs = 1000
const sweepMs = 100

/**
 * Stops accepting, closes idle connections, and resolves when the last transfer has ended. After
 * `graceMs` milliseconds what is left is destroyed. Resolves to whether every transfer could end.
 */
export async function drain(server: ListenerServer, graceMs: number): Promise<boolean> {
  if (!server.listening) return true
  let complete = true
  const started = Date.now()
  // Responses sent from now on say so, and their connections are closed behind them.
  server.prependListener('request', (_req, res) => void res.setHeader('connection', 'close'))
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  server.closeIdleConnections()
  // A connection goes idle when its transfer ends: `close` alone would wait for its time limit,
  // and for ever for a client that never sent a request.
  const sweep = setInterval(() => {
    server.closeIdleConnections()
    if (Date.now() - started >= silentMs) closeSilent(server)
  }, sweepMs)
  const end = setTimeout(() => {
    complete = false
    for (const socket of connectionsOf(server)) socket.destroy()
    server.closeAllConnections()
  }, graceMs)
  await closed
  clearInterval(sweep)
  clearTimeout(end)
  return complete
}

function closeSilent(server: ListenerServer): void {
  for (const socket of connectionsOf(server)) {
    if (responseOn(socket) === undefined) socket.destroy()
  }
}
