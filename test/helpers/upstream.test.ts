// The faults must be what they say: the tests of the cache and of the upstream client rest on them.
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { makeCertificate } from './certificates.ts'
import { tokenAuth } from './token-auth.ts'
import * as faults from './upstream.ts'

const image = await buildSampleImage({ layerBytes: 200_000 })
const [large, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]
const blobPath = `/v2/app/blobs/${large}`

function start(t: Test, ...list: faults.Fault[]) {
  return faults.startUpstream(t, { repositories: { app: image }, faults: list })
}

/** What arrives on a bare socket: head, body and how the connection ended. */
async function raw(port: number, extra = '', tls = false) {
  const socket = tls
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    : connectTcp(port, '127.0.0.1')
  let ending = 'FIN'
  socket.on('error', (error: NodeJS.ErrnoException) => {
    ending = error.code ?? error.message
  })
  socket.write(`GET ${blobPath} HTTP/1.1\r\nHost: x\r\n${extra}\r\n`)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'close').catch(() => {})
  const all = Buffer.concat(chunks)
  const split = all.indexOf('\r\n\r\n')
  return {
    head: all.subarray(0, Math.max(split, 0)).toString('latin1').toLowerCase(),
    body: split < 0 ? Buffer.alloc(0) : all.subarray(split + 4),
    ending,
  }
}

t.test('closeAfter ends the connection inside the body', async (t) => {
  const { port } = await start(t, faults.closeAfter(100_000))
  const { head, body, ending } = await raw(port)
  t.match(head, `content-length: ${bytes.length}`)
  t.ok(body.equals(bytes.subarray(0, 100_000)))
  t.equal(ending, 'FIN')
})

t.test('resetAfter resets it, over TLS too', async (t) => {
  const { certificatePem: cert, keyPem: key } = await makeCertificate({
    subject: 'CN=localhost',
    purposes: ['server'],
  })
  const plain = await start(t, faults.resetAfter(1000))
  t.equal((await raw(plain.port)).ending, 'ECONNRESET')
  const secure = await faults.startUpstream(t, {
    repositories: { app: image },
    tls: { cert, key },
    faults: [faults.times(1, faults.resetAfter(1000)), faults.closeAfter(1000)],
  })
  t.equal((await raw(secure.port, '', true)).ending, 'ECONNRESET')
  const closed = await raw(secure.port, '', true)
  t.equal(closed.ending, 'FIN')
  t.equal(closed.body.length, 1000)
})

t.test('a cut at the first byte still sends the head', async (t) => {
  const { port } = await start(t, faults.closeAfter(0))
  const { head, body } = await raw(port)
  t.match(head, 'http/1.1 200')
  t.equal(body.length, 0)
})

t.test('stalls keep the connection open', async (t) => {
  const upstream = await start(t, faults.stallAfter(5000))
  const response = await fetch(upstream.url + blobPath, { signal: AbortSignal.timeout(200) })
  let received = 0
  await t.rejects(
    async () => {
      for await (const chunk of response.body ?? []) received += chunk.length
    },
    { name: 'TimeoutError' },
  )
  t.equal(received, 5000)
  upstream.fail(faults.stallBeforeHeaders())
  const signal = AbortSignal.timeout(100)
  await t.rejects(fetch(upstream.url + blobPath, { signal }), { name: 'TimeoutError' })
})

t.test('flipByte changes one bit of one byte', async (t) => {
  const { url } = await start(t, faults.flipByte(150_000))
  const body = Buffer.from(await (await fetch(url + blobPath)).arrayBuffer())
  const wrong = [...body.keys()].filter((index) => body[index] !== bytes[index])
  t.same(wrong, [150_000])
  t.equal(body.length, bytes.length)
})

t.test('the framing of a body', async (t) => {
  const upstream = await start(t, faults.ignoreRange())
  const get = async () => {
    const response = await fetch(upstream.url + blobPath, { headers: { range: 'bytes=10-' } })
    return { response, body: Buffer.from(await response.arrayBuffer()) }
  }
  const whole = await get()
  t.equal(whole.response.status, 200)
  t.ok(whole.body.equals(bytes))
  t.equal(upstream.requests[0]?.headers.range, 'bytes=10-', 'the record has what was asked')

  upstream.fail(faults.chunked())
  const part = await get()
  t.equal(part.response.status, 206)
  t.equal(part.response.headers.get('content-length'), null)
  t.ok(part.body.equals(bytes.subarray(10)))

  upstream.fail(faults.gzipEncoded())
  const { head, body } = await raw(upstream.port, 'Connection: close\r\n')
  t.match(head, 'content-encoding: gzip')
  t.ok(gunzipSync(dechunk(body)).equals(bytes))

  upstream.fail(faults.closeDelimited())
  const open = await raw(upstream.port)
  t.notMatch(open.head, /content-length|transfer-encoding/)
  t.ok(open.body.equals(bytes))

  upstream.fail(faults.closeDelimited(), faults.closeAfter(70_000))
  const truncated = await fetch(upstream.url + blobPath)
  t.equal((await truncated.arrayBuffer()).byteLength, 70_000, 'looks like a clean end')
})

t.test('other answers, for some requests and some times', async (t) => {
  const upstream = await start(
    t,
    faults.on(/^GET .*blobs/, faults.times(2, faults.status(503))),
    faults.on(/^HEAD/, faults.status(429, { 'retry-after': '7' })),
    faults.on(/manifests/, faults.htmlPage()),
    faults.withHeaders({ 'x-extra': 'yes' }),
  )
  const statuses: number[] = []
  for (let i = 0; i < 3; i++) statuses.push((await fetch(upstream.url + blobPath)).status)
  t.same(statuses, [503, 503, 200])
  const head = await fetch(upstream.url + blobPath, { method: 'HEAD' })
  t.equal(head.status, 429)
  t.equal(head.headers.get('retry-after'), '7')
  const page = await fetch(`${upstream.url}/v2/app/manifests/latest`)
  t.match(await page.text(), '<html>')
  t.equal(page.status, 200)
  t.equal((await fetch(`${upstream.url}/v2/`)).headers.get('x-extra'), 'yes')
  t.equal(upstream.count(/^GET .*blobs/), 3)
  upstream.fail()
  t.equal((await fetch(upstream.url + blobPath, { method: 'HEAD' })).status, 200)
})

t.test('a gate holds what comes until it is opened', async (t) => {
  const gate = faults.gate()
  const { url } = await start(t, gate.fault)
  let answered = 0
  const get = async () => {
    const response = await fetch(url + blobPath)
    answered += 1
    return Buffer.from(await response.arrayBuffer())
  }
  const both = [get(), get()]
  await gate.held(2)
  t.equal(answered, 0)
  gate.open()
  for (const body of await Promise.all(both)) t.ok(body.equals(bytes))
  t.ok((await get()).equals(bytes))
})

t.test('token authentication', async (t) => {
  const auth = tokenAuth({ credentials: { username: 'robot', password: 'pw' }, expiresIn: 60 })
  const { url } = await start(t, auth.fault)
  const challenge = (await fetch(url + blobPath)).headers.get('www-authenticate')
  t.equal(challenge, `Bearer realm="${url}/token",service="test",scope="repository:app:pull"`)
  const token = `${url}/token?service=test&scope=repository:app:pull`
  t.equal((await fetch(token)).status, 401)
  const authorization = `Basic ${btoa('robot:pw')}`
  const granted = (await (await fetch(token, { headers: { authorization } })).json()) as {
    token: string
    expires_in: number
  }
  t.equal(granted.expires_in, 60)
  const withToken = { headers: { authorization: `Bearer ${granted.token}` } }
  t.equal((await fetch(url + blobPath, withToken)).status, 200)
  t.equal((await fetch(`${url}/v2/`, withToken)).status, 200)
  t.equal((await fetch(`${url}/v2/other/tags/list`, withToken)).status, 401)
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'pw' })
  t.match(await (await fetch(`${url}/token`, { method: 'POST', body })).json(), {
    access_token: 'token-3',
  })
  t.equal(auth.asked.length, 3)
  auth.revoke()
  t.equal((await fetch(url + blobPath, withToken)).status, 401)
})

/** The payload of a body in chunked transfer coding. */
function dechunk(body: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; ;) {
    const line = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.subarray(at, line).toString('latin1'), 16)
    if (!(size > 0)) return Buffer.concat(parts)
    parts.push(body.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}
