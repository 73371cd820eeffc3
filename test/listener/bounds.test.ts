// What every connection is given, whatever runs on it: keep-alive of TCP, and room for headers.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { exchange, makeSite, noTls, startListener } from '../helpers/listener.ts'

const hasSs = spawnSync('ss', ['--version']).status === 0

t.test('the kernel looks after peers that have vanished', { skip: !hasSs }, async (t) => {
  const { tls } = await makeSite(t)
  for (const secure of [true, false]) {
    const config = { insecureHttp: !secure, tls: secure ? tls : noTls }
    const listener = await startListener(t, config, (_req, res) => void res.end())
    const { port } = listener
    const arrived = once(listener.server, 'connection')
    const socket = secure
      ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
      : connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    await Promise.all([once(socket, secure ? 'secureConnect' : 'connect'), arrived])
    const { stdout } = spawnSync('ss', ['-tnoH', `sport = :${port}`])
    t.match(stdout.toString(), /timer:\(keepalive,(?:30|2\d)(?:\.\d+)?sec,/, `secure: ${secure}`)
  }
})

t.test('a token of 16 KiB is read, headers of more than 32 KiB are not', async (t) => {
  const { tls } = await makeSite(t)
  for (const secure of [true, false]) {
    const config = { insecureHttp: !secure, tls: secure ? tls : noTls }
    const { port } = await startListener(t, config, (req, res) => {
      res.end(`${req.headers.authorization?.length} characters`)
    })
    const ask = async (bytes: number) => {
      const head = `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: ${'x'.repeat(bytes)}\r\n\r\n`
      if (secure) return (await exchange({ port, rejectUnauthorized: false }, head)).text
      const socket = connect(port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.write(head)
      await once(socket, 'close')
      return text
    }
    t.match(await ask(16 * 1024), /^HTTP\/1\.1 200 [^]*16384 characters/)
    const refused = await ask(33 * 1024)
    t.match(refused, /^HTTP\/1\.1 431 [^]*HEADERS_TOO_LARGE/)
    t.notMatch(refused, /characters/)
  }
})
