// Threats by connections: those that never end, those that come in thousands, those that lie.
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { layerPath, manifestPath, pki, startSite, threat } from './site.ts'

function open(t: Test, port: number, localAddress = '127.0.0.1'): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  return socket
}

/** Whether the gateway ends the connection within `ms`. */
async function ends(socket: Socket, ms = 45_000): Promise<boolean> {
  if (socket.destroyed) return true
  socket.resume()
  return Promise.race([once(socket, 'close').then(() => true), sleep(ms, false, { ref: false })])
}

threat('a connection in any state', async (t) => {
  const site = await startSite(t)
  const hello = Buffer.from('160301020001000001fc0303', 'hex')
  const tls = () =>
    connect({
      host: '127.0.0.1',
      port: site.port,
      servername: 'localhost',
      ca: pki.ca.certificatePem,
      cert: pki.client.certificatePem,
      key: pki.client.keyPem,
    })
  const states: Record<string, () => Promise<Socket>> = {
    'TCP only': async () => open(t, site.port),
    'handshake begun': async () => {
      const socket = open(t, site.port)
      socket.write(hello)
      return socket
    },
    'handshake done, no request': async () => {
      const socket = tls().on('error', () => undefined)
      await once(socket, 'secureConnect')
      return socket
    },
    'request half sent': async () => {
      const socket = tls().on('error', () => undefined)
      await once(socket, 'secureConnect')
      socket.write(`GET ${manifestPath} HTTP/1.1\r\nHost: loc`)
      return socket
    },
    'a byte of a header now and then': async () => {
      const socket = tls().on('error', () => undefined)
      await once(socket, 'secureConnect')
      socket.write(`GET ${manifestPath} HTTP/1.1\r\nHost: localhost\r\nX: `)
      const timer = setInterval(() => socket.write('a'), 100)
      socket.on('close', () => clearInterval(timer))
      return socket
    },
  }
  const ended = Object.entries(states).map(async ([name, make]) => ({
    name,
    isOver: await ends(await make()),
  }))
  for (const { name, isOver } of await Promise.all(ended)) t.ok(isOver, name)
})

threat('an answer that is not read', async (t) => {
  const site = await startSite(t)
  await site.send(layerPath)
  const socket = connect({
    host: '127.0.0.1',
    port: site.port,
    servername: 'localhost',
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
  })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  const request = `GET ${layerPath} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  socket.write(request.repeat(20))
  socket.pause()
  const began = process.memoryUsage().rss
  await sleep(1500)
  t.ok(process.memoryUsage().rss - began < 64 * 2 ** 20, 'memory stays flat')
  t.equal((await site.send(manifestPath)).status, 200, 'others are served')
})

threat('silent connections while others pull', async (t) => {
  const site = await startSite(t)
  const silent = Array.from({ length: 300 }, (_, index) =>
    open(t, site.port, `127.0.0.${2 + (index % 200)}`),
  )
  for (let turn = 0; turn < 20; turn += 1) {
    t.equal((await site.send(manifestPath)).status, 200)
  }
  const gone = await Promise.all(silent.map(async (socket) => ends(socket)))
  t.ok(gone.every(Boolean), 'all of them are ended')
})

threat('the end of the process with connections open', async (t) => {
  const site = await startSite(t)
  const silent = open(t, site.port)
  await once(silent, 'connect')
  const began = performance.now()
  await site.close(500)
  t.ok(performance.now() - began < 5000, 'the end does not wait for a peer')
  t.ok(await ends(silent))
})

threat('requests in a row without waiting for answers', async (t) => {
  const site = await startSite(t)
  const request = `GET ${manifestPath} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  const last = request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')
  await site.send(manifestPath)
  const began = process.memoryUsage().rss
  const flood = site.raw(`${request.repeat(15_000)}${last}`, { patience: 30_000 })
  const other = await site.send(manifestPath)
  t.equal(other.status, 200, 'others are served meanwhile')
  const { text } = await flood
  t.ok(process.memoryUsage().rss - began < 150 * 2 ** 20, 'memory is bounded')
  t.notMatch(text.slice(0, 100_000), /HTTP\/1.1 500/)
})

threat('rubbish instead of a request', async (t) => {
  const site = await startSite(t)
  const rubbish = [
    'GET / HTTP/1.1\r\n\r\n',
    'QUERY /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n',
    'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
    'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n',
    'GET /v2/ HTTP/1.1\nHost: localhost\n\n',
    'GET /v2/ HTTP/1.1\rHost: localhost\r\r',
    'GET /v2/ HTTP/9.9\r\nHost: localhost\r\n\r\n',
    `GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`,
    '\x16\x03\x01',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ]
  for (const text of rubbish) {
    const got = await site.raw(text)
    const answers = got.text.match(/HTTP\/1\.1 \d{3}/g) ?? []
    t.ok(answers.length <= 1, `one answer at most: ${JSON.stringify(text.slice(0, 60))}`)
    if (answers.length === 1) t.match(answers[0], /HTTP\/1\.1 4\d\d/)
  }
  t.equal(site.upstream.requests.length, 0)
  t.equal((await site.send(manifestPath)).status, 200)
})

threat('a method that writes, or that nobody knows', async (t) => {
  const site = await startSite(t)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const answer = await site.send(manifestPath, { method })
    t.equal(answer.status, 405, method)
    t.equal(answer.code, 'UNSUPPORTED')
  }
  t.equal(site.upstream.requests.length, 0)
})
