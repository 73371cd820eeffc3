// Behind a load balancer that passes TCP through, a client is whom the PROXY protocol names.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startGateway } from '../../src/app.ts'
import { startProgram, until } from '../e2e/lab/program.ts'
import { makeFolder } from '../e2e/lab/folder.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'
import { recordingLog } from '../helpers/listener.ts'
import { testPki } from '../helpers/tls.ts'
import { loadConfig } from '../../src/config/load.ts'
import { optionsFor } from '../requirements.ts'

const upstreams = 'upstreams: { registry.test: { offline: true } }'

const start = (t: Test, more = '') =>
  startTestGateway(t, upstreams, { listen: `proxyProtocol: [127.0.0.1, '::1']${more}` })

/** A header of version 2 as HAProxy sends it, with something after the addresses. */
function header(source: number[], { command = 0x21, extra = Buffer.alloc(0) } = {}): Buffer {
  const addresses = Buffer.from([...source, ...source.map(() => 0), 0x04, 0xd2, 0x15, 0x43])
  const head = Buffer.from('\r\n\r\n\0\r\nQUIT\n\0\0\0\0', 'latin1')
  head.writeUInt8(command, 12)
  head.writeUInt8(source.length === 4 ? 0x11 : 0x21, 13)
  head.writeUInt16BE(addresses.length + extra.length, 14)
  return Buffer.concat([head, addresses, extra])
}

const four = [192, 0, 2, 7]
const six = [0x20, 0x01, 0x0d, 0xb8, ...Array.from({ length: 11 }, () => 0), 7]

async function ask(socket: Socket): Promise<string> {
  const { ca, client } = await testPki()
  const tls = connectTls({
    socket,
    servername: 'localhost',
    ca: ca.certificatePem,
    cert: client.certificatePem,
    key: client.keyPem,
  })
  tls.end('GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  return text(tls)
}

function open({ port }: TestGateway, ...chunks: Buffer[]): Socket {
  const socket = connect(port, '127.0.0.1')
  for (const chunk of chunks) socket.write(chunk)
  return socket.on('error', () => undefined)
}

/** The addresses of clients, request by request. */
async function clientsOf({ lines }: TestGateway, count: number) {
  const requests = () => lines.filter(({ msg }) => msg === 'request')
  await until('the requests are logged', () => requests().length >= count)
  return requests().map(({ client }) => client)
}

t.test('the address that it names is that of the client', async (t) => {
  const gateway = await start(t)
  t.match(await ask(open(gateway, header(four))), /^HTTP\/1\.1 200/)
  t.match(await ask(open(gateway, header(six))), /^HTTP\/1\.1 200/)
  t.match(await ask(open(gateway, header(four, { extra: Buffer.alloc(300) }))), /^HTTP\/1\.1 200/)
  t.match(await ask(open(gateway, header(four, { command: 0x20 }))), /^HTTP\/1\.1 200/)
  t.same(await clientsOf(gateway, 4), ['192.0.2.7', '2001:db8::7', '192.0.2.7', '127.0.0.1'])
})

t.test('in as many pieces as it likes', async (t) => {
  const gateway = await start(t)
  const socket = open(gateway).setNoDelay()
  await once(socket, 'connect')
  for (const byte of header(four)) {
    socket.write(Buffer.from([byte]))
    await setTimeout(1)
  }
  t.match(await ask(socket), /^HTTP\/1\.1 200/)
  t.same(await clientsOf(gateway, 1), ['192.0.2.7'])
})

t.test('without one, or with a wrong one, the connection ends', async (t) => {
  const gateway = await start(t)
  const reasons = () => gateway.lines.map(({ reason }) => reason).filter(Boolean)
  const wrong = [
    Buffer.from('PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n'),
    header(four, { command: 0x11 }),
    header(four, { command: 0x2f }),
    header(four, { extra: Buffer.alloc(5000) }),
  ]
  for (const bytes of wrong) await once(open(gateway, bytes), 'close')
  await t.rejects(gateway.send('/v2/'), 'a client that speaks TLS at once')
  t.same([...new Set(reasons())], ['bad_proxy_header'])
  await once(open(gateway, header(four).subarray(0, 10)).end(), 'close')
  open(gateway).end()
  await until('it is told', () => reasons().includes('closed_by_client'))
  t.match(await ask(open(gateway, header(four))), /^HTTP\/1\.1 200/, 'and others are served')
})

t.test('another address is not asked for a header, and not believed', async (t) => {
  const gateway = await startTestGateway(t, upstreams, { listen: 'proxyProtocol: [192.0.2.0/24]' })
  t.equal((await gateway.send('/v2/')).status, 200)
  t.same(await clientsOf(gateway, 1), ['127.0.0.1'])
  await once(open(gateway, header(four)), 'close')
  await until('it is told', () => gateway.lines.some(({ reason }) => reason === 'not_tls'))
})

t.test('limits are those of each client behind it', async (t) => {
  const gateway = await start(t, '\n  limits: { connectionsPerAddress: 1 }')
  const first = open(gateway, header(four))
  await once(first, 'connect')
  const second = open(gateway, header(four))
  await once(second, 'close')
  t.match(await ask(open(gateway, header(six))), /^HTTP\/1\.1 200/)
  t.ok(
    gateway.lines.some((line) => line['source'] === '192.0.2.7'),
    'told by its own address',
  )
  first.destroy()
})

t.test('one without a header does not hold up the end', async (t) => {
  const gateway = await start(t)
  const silent = open(gateway)
  await once(silent, 'connect')
  // Connections are taken in order.
  await ask(open(gateway, header(four)))
  const closed = once(silent, 'close')
  t.equal(await gateway.close(25_000), 0)
  await closed
  t.notOk(gateway.lines.some(({ reason }) => reason === 'timeout'))
})

t.test('plain HTTP, too', async (t) => {
  const { port, lines } = await startPlain(t)
  const socket = connect(port, '127.0.0.1')
  socket.write(header(four))
  socket.end('GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  t.match(await text(socket), /^HTTP\/1\.1 200/)
  await until('it is logged', () => lines.some(({ client }) => client === '192.0.2.7'))
})

t.test('HAProxy says whom it speaks for', optionsFor('haproxy'), async (t) => {
  const gateway = await start(t)
  const config = join(makeFolder(t), 'haproxy.cfg')
  const socket = join(makeFolder(t), 'in')
  writeFileSync(
    config,
    `defaults
  mode tcp
  timeout connect 5s
  timeout client 20s
  timeout server 20s
listen gateway
  bind unix@${socket} accept-proxy
  server a 127.0.0.1:${gateway.port} send-proxy-v2
`,
  )
  await startProgram(t, { command: 'haproxy', args: ['-db', '-f', config] })
  // The client of HAProxy is what its own header of version 1 says.
  const connected = await connectSoon(socket)
  connected.write('PROXY TCP4 192.0.2.99 192.0.2.1 1234 5443\r\n')
  t.match(await ask(connected), /^HTTP\/1\.1 200/)
  t.same(await clientsOf(gateway, 1), ['192.0.2.99'])
})

t.test('what is no network is refused', async (t) => {
  const file = (network: string) =>
    join(
      t.testdir({
        'c.yaml': `listen: { insecureHttp: true, proxyProtocol: ['${network}'] }\n${upstreams}\n`,
      }),
      'c.yaml',
    )
  for (const wrong of ['lb.local', '10.0.0.0/40', '10.0.0.0/', '::1/64/2', '']) {
    await t.rejects(loadConfig(file(wrong)), /proxyProtocol\.0: must be an address or a network/)
  }
  t.ok(await loadConfig(file('2001:db8::/32')))
})

async function connectSoon(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path)
    try {
      await once(socket, 'connect')
      return socket
    } catch {
      await setTimeout(50)
    }
  }
}

async function startPlain(t: Test) {
  const folder = t.testdir({
    'c.yaml': `listen: { host: 127.0.0.1, port: 0, insecureHttp: true, proxyProtocol: [127.0.0.0/8] }
admin: { port: 0 }
cache: { dir: cache }
${upstreams}
`,
  })
  const { log, lines } = recordingLog()
  const gateway = await startGateway(await loadConfig(join(folder, 'c.yaml')), { log })
  t.teardown(() => gateway.close(0))
  return { port: gateway.port, lines }
}
