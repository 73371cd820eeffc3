// How much memory does a transfer take? Many clients that have asked for a large blob, and read none of it.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { memoryBytes } from '../lab/cpu.ts'
import type { Line } from '../lab/client.ts'
import type { Identities, Server } from '../lab/server.ts'

const count = 300

/** Bytes of the gateway's process for each connection that is sent something. */
export async function memoryOfTransfer(
  { port, pid }: Server,
  { ca, client }: Identities,
  line: Line,
): Promise<number> {
  const [authority, cert, key] = [ca, client.cert, client.key].map((file) => readFileSync(file))
  const before = memoryBytes(pid)
  const sockets = Array.from({ length: count }, () =>
    connect({ host: '127.0.0.1', port, ca: authority, cert, key }).on('error', () => undefined),
  )
  for (const socket of sockets) {
    await once(socket, 'secureConnect')
    socket.pause()
    socket.write(`${line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
  }
  await delay(3000)
  const after = memoryBytes(pid)
  for (const socket of sockets) socket.destroy()
  return (after - before) / count
}
