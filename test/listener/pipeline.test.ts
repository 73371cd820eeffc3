// Requests that are sent without waiting for answers: one after the other, and not too many.
import { once } from 'node:events'
import type { RequestListener, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { makeSite, noTls, startListener } from '../helpers/listener.ts'

for (const secure of [true, false]) {
  const kind = secure ? 'TLS' : 'plain'

  async function start(t: Test, handler: RequestListener) {
    const tls = secure ? (await makeSite(t)).tls : noTls
    const listener = await startListener(t, { insecureHttp: !secure, tls }, handler)
    const { port } = listener
    const socket = secure
      ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
      : connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    await once(socket, secure ? 'secureConnect' : 'connect')
    const send = (count: number) => {
      for (let at = 0; at < count; at += 1) socket.write(`GET /${at} HTTP/1.1\r\nHost: a\r\n\r\n`)
    }
    return { ...listener, socket, send }
  }

  t.test(`a few requests at once are answered one after the other, ${kind}`, async (t) => {
    let working = 0
    const { socket, send } = await start(t, (req, res) => {
      working += 1
      t.equal(working, 1)
      void setTimeout(5).then(() => {
        working -= 1
        res.end(`${req.url};`)
      })
    })
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    send(50)
    while (!text.endsWith('/49;')) await once(socket, 'data')
    const answers = [...text.matchAll(/\/(\d+);/g)].map(([, at]) => Number(at))
    t.same(answers, [...Array(50).keys()], 'each has its own answer, in order')
    send(1)
    await once(socket, 'data')
    t.match(text, /\/0;$/, 'the connection is as good as before')
  })

  t.test(
    `an offer to change the protocol closes the connection behind its answer, ${kind}`,
    async (t) => {
      const { socket } = await start(t, (_req, res) => res.end('as before'))
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
      const closed = once(socket, 'close')
      const offer = 'Connection: upgrade\r\nUpgrade: h2c\r\n'
      socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${offer}\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n`)
      await closed
      t.match(text, /^HTTP\/1\.1 200 .*\r\nconnection: close\r\n.*as before$/is)
    },
  )

  t.test(`15,000 requests at once close the connection, ${kind}`, async (t) => {
    const begun: ServerResponse[] = []
    const listener = await start(t, (_req, res) => void begun.push(res))
    const { server, socket, send, failures } = listener
    let read = 0
    server.on('request', () => (read += 1))
    socket.on('error', () => undefined)
    const closed = new Promise((resolve) => socket.on('close', resolve))
    send(15_000)
    await closed
    t.equal(begun.length, 1, 'one was worked on')
    t.ok(read < 5000, `${read} were read`)
    t.ok(failures.includes('too_many_requests'))
  })
}

t.test('a client that leaves takes its waiting requests along', async (t) => {
  const begun: string[] = []
  const { port } = await startListener(t, { insecureHttp: true, tls: noTls }, (req, res) => {
    begun.push(req.url ?? '')
    if (req.url === '/quick') res.end()
  })
  const socket = connect(port, '127.0.0.1')
  for (const path of ['/slow', '/later']) {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  }
  while (begun.length === 0) await setTimeout(10)
  socket.destroy()
  const other = connect(port, '127.0.0.1')
  t.teardown(() => other.destroy())
  other.write('GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(other, 'data')
  t.same(begun, ['/slow', '/quick'])
})
