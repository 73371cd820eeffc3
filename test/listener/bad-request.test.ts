// Requests that are none, over raw sockets: each is answered with an OCI body, then the end.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sendRaw as send } from '../helpers/raw.ts'
import { noTls, startListener } from '../helpers/listener.ts'

async function start(t: Test) {
  return startListener(t, { insecureHttp: true, tls: noTls }, (req, res) => {
    if (req.url === '/stream') {
      res.writeHead(200, { 'content-length': 100 })
      res.write('half')
      return
    }
    res.end(`handled ${req.method} ${req.url}`)
  })
}

const refused: [name: string, bytes: string, status: number, code: string][] = [
  ['a bad request line', 'NONSENSE\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['an unknown version', 'GET / HTTP/9.9\r\nHost: a\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a TLS client', '\x16\x03\x01\x02\x00\x01\x00', 400, 'REQUEST_INVALID'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a Host that is none', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a user in Host', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a path in Host', 'GET / HTTP/1.0\r\nHost: a/v2\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['HTTP/2.0 as text', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 400, 'REQUEST_INVALID'],
  [
    'two Authorizations',
    'GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic a\r\nAuthorization: Basic b\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  ['another host', 'GET http://b/v2/ HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a foreign scheme', 'GET ftp://a/v2/ HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a fragment', 'GET /v2/#a HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'REQUEST_INVALID'],
  [
    'a GET with a body',
    'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx',
    400,
    'REQUEST_INVALID',
  ],
  [
    'a HEAD with a body',
    'HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx',
    400,
    'REQUEST_INVALID',
  ],
  ['an unknown method', 'QUERY / HTTP/1.1\r\nHost: a\r\n\r\n', 405, 'UNSUPPORTED'],
  [
    'a chunked GET',
    'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  ['an expectation', 'GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a tunnel', 'CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n', 405, 'UNSUPPORTED'],
  [
    'huge headers',
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
    431,
    'HEADERS_TOO_LARGE',
  ],
]

for (const [name, bytes, status, code] of refused) {
  t.test(`${name}: ${status}`, async (t) => {
    const { port } = await start(t)
    const text = await send(port, bytes)
    const [head, body] = text.split('\r\n\r\n')
    t.match(head, new RegExp(`^HTTP/1\\.1 ${status} `))
    t.match(head, /content-type: application\/json/i)
    t.match(head, /connection: close/i)
    // To HEAD goes no body, though its length.
    if (!bytes.startsWith('HEAD')) {
      t.match(JSON.parse(body ?? ''), { errors: [{ code, message: String }] })
    }
    t.equal(text.split('HTTP/1.1 ').length, 2, 'answered once')
  })
}

t.test('headers that do not arrive in time: 408', async (t) => {
  const { port, server } = await start(t)
  server.headersTimeout = 50
  t.match(await send(port, 'GET / HTTP/1.1\r\nHost:'), /^HTTP\/1\.1 408 .*REQUEST_TIMEOUT/s)
})

t.test('what is sound is handled, the absolute form for this host too', async (t) => {
  const { port } = await start(t)
  const tail = 'HTTP/1.1\r\nHost: Gateway:5443\r\nConnection: close\r\n\r\n'
  t.match(await send(port, `GET /v2/?ns=a ${tail}`), /handled GET \/v2\/\?ns=a$/)
  t.match(await send(port, `GET https://gateway:5443/v2/ ${tail}`), /handled GET \/v2\/$/)
  t.match(
    await send(
      port,
      `GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    ),
    /handled GET \/v2\/$/,
    'an empty body is none',
  )
  t.match(await send(port, 'GET /v2/ HTTP/1.0\r\n\r\n'), /handled GET \/v2\/$/)
  for (const host of [
    '[::1]:5443',
    '[fe80::1%25eth0]',
    'edge_gateway:5443',
    'Gateway.',
    '10.0.0.1',
  ]) {
    const text = await send(port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    t.match(text, /handled GET \/$/, host)
  }
  t.match(await send(port, `OPTIONS * ${tail}`), /handled OPTIONS \*$/)
})

t.test('garbage behind a response in progress never lands in its body', async (t) => {
  const { port } = await start(t)
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write('GET /stream HTTP/1.1\r\nHost: a\r\n\r\n')
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    if (text.endsWith('half')) socket.write('NONSENSE\r\n\r\n')
  })
  await once(socket, 'close')
  t.match(text, /half$/)
})

t.test('a refused client that keeps its side open is closed all the same', async (t) => {
  const { port, server } = await start(t)
  for (const bytes of [
    'NONSENSE\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'CONNECT b:1 HTTP/1.1\r\nHost: b\r\n\r\n',
  ]) {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined).resume()
    socket.write(bytes)
  }
  await setTimeout(100)
  const count = () => new Promise((resolve) => server.getConnections((_error, n) => resolve(n)))
  for (let turn = 0; turn < 100 && (await count()) !== 0; turn += 1) await setTimeout(100)
  t.equal(await count(), 0)
})

t.test('an error behind an error is not answered again', async (t) => {
  const { port } = await start(t)
  const text = await send(port, `NONSENSE\r\n\r\n${'NONSENSE\r\n\r\n'.repeat(1000)}`)
  t.equal(text.split('HTTP/1.1 ').length, 2)
})

t.test('no request gets the answer of another', async (t) => {
  const { port } = await start(t)
  const get = 'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n'
  const text = await send(port, `${get}NONSENSE\r\n\r\n`)
  t.notMatch(text, /REQUEST_INVALID/)
})
