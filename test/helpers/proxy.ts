// An HTTP proxy that opens tunnels, or refuses to.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface TestProxy {
  url: string
  /** `host:port` of each CONNECT. */
  targets: string[]
}

/** Starts a proxy that answers every CONNECT with `status`, over TLS where it is given some; closed with the test. */
export async function startProxy(
  t: Pick<Test, 'teardown'>,
  { status = 200, tls }: { status?: number; tls?: ServerOptions } = {},
): Promise<TestProxy> {
  const targets: string[] = []
  const sockets = new Set<Socket>()
  const server = tls === undefined ? createServer() : createTlsServer(tls)
  server.on('connect', ({ url = '' }, socket: Socket) => {
    targets.push(url)
    socket.on('error', () => socket.destroy())
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    const [host = '', port] = url.split(':')
    const other = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(other).pipe(socket)
    })
    sockets.add(other)
    other.on('error', () => socket.destroy())
  })
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  return { url: `${tls === undefined ? 'http' : 'https'}://localhost:${port}`, targets }
}
