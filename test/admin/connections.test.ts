// Connections to the admin listener whose client does nothing more: each has an end.
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'

const get = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n'

/** What it has begun, over TLS or without. */
const begun: Record<string, string> = {
  nothing: '',
  'half a request line': 'GET /hea',
  'half a head': get,
  'half a body': `${get.replace('GET', 'POST')}Content-Length: 10\r\n\r\n12345`,
  'half a handshake': '\x16\x03\x01\x01\x00\x01',
}

const files = {
  plain: 'admin: { port: 0 }',
  TLS: 'admin: { port: 0, tls: { cert: server.crt, key: server.key } }',
}

for (const [name, admin] of Object.entries(files)) {
  t.test(`silent ones end, and keep nobody out: ${name}`, { timeout: 90_000 }, async (t) => {
    const { adminPort, close } = await startTestGateway(t, 'upstreams: {}', { admin })
    const ends = Object.entries(begun).map(async ([what, text]) => {
      // It never closes its side.
      const socket = connect({ host: '127.0.0.1', port: adminPort, allowHalfOpen: true })
      t.teardown(() => socket.destroy())
      socket.on('error', () => undefined).resume()
      await once(socket, 'connect')
      socket.write(text, 'latin1')
      await once(socket, 'end').catch(() => undefined)
      return what
    })
    t.same(await Promise.all(ends), Object.keys(begun))
    t.equal(await close(1000), 0)
  })
}
