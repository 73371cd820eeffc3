// Faults of the way to an upstream: nobody is there, or somebody else.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { testPki } from '../helpers/tls.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { fault, image, layerPath, manifestPath } from './site.ts'

const pki = await testPki()

/** Ways to an upstream that lead nowhere, by what a client is told. */
const astray: Record<string, { url: (t: Test) => Promise<string>; reason: string }> = {
  'a refused connection': { url: async () => 'https://localhost:1', reason: 'refused' },
  'a black hole': { url: blackHole, reason: 'timeout' },
  'a server that accepts and is silent': { url: silence, reason: 'timeout' },
  'the certificate of a wrong authority': { url: tlsUpstream('otherServer'), reason: 'unknown_ca' },
  'a certificate for a wrong name': { url: tlsUpstream('wrongNameServer'), reason: 'wrong_name' },
  'an expired certificate': { url: tlsUpstream('expiredServer'), reason: 'expired' },
  'a client certificate that is missing': {
    url: tlsUpstream('server', { requestCert: true, rejectUnauthorized: true }),
    reason: 'client_certificate_required',
  },
}

for (const [name, { url, reason }] of Object.entries(astray)) {
  fault(
    name,
    async (t, { send, pull, lines, moveTo, heal, away }) => {
      for (const { status } of await Promise.all([send(manifestPath), pull(layerPath)])) {
        t.ok([502, 504].includes(status), `${status}`)
      }
      t.ok(
        lines.some((line) => line['reason'] === reason),
        'the log has the reason',
      )
      await heal()
      t.equal((await send(manifestPath)).status, 200)
      await moveTo(away)
      t.equal((await send(manifestPath)).status, 200, 'what the cache holds is served')
    },
    { url },
  )
}

type Server = 'server' | 'otherServer' | 'wrongNameServer' | 'expiredServer'

function tlsUpstream(server: Server, tls: object = {}): (t: Test) => Promise<string> {
  return async (t) => {
    const { certificatePem: cert, keyPem: key } = pki[server]
    const upstream = await startUpstream(t, {
      repositories: { app: image },
      tls: { cert, key, ca: pki.ca.certificatePem, ...tls },
    })
    return upstream.url.replace('127.0.0.1', 'localhost')
  }
}

/** Takes connections, reads what comes, and says nothing: no handshake of TLS ever ends. */
async function silence(t: Test): Promise<string> {
  const server = createServer((socket) => void socket.on('error', () => undefined).resume())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  return `https://localhost:${(server.address() as AddressInfo).port}`
}

/** A port whose queue of connections is full: the kernel drops whatever comes. */
async function blackHole(t: Test): Promise<string> {
  const child = spawn(process.execPath, ['-e', listenAndHang], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [data] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(data.toString())
  const fillers = [0, 1, 2, 3].map(() => connect(port, '127.0.0.1').on('error', () => undefined))
  t.teardown(() => fillers.forEach((socket) => socket.destroy()))
  await Promise.race(fillers.map(async (socket) => once(socket, 'connect')))
  return `https://localhost:${port}`
}

const listenAndHang = `
const server = require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  require('fs').writeSync(1, String(server.address().port))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})`
