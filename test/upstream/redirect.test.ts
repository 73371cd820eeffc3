// Redirects: followed where the config allows it, and nothing secret goes along.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { redirectTarget } from '../../src/upstream/redirect.ts'
import { hostMatcher } from '../../src/upstream/host-pattern.ts'
import { ask, startUpstreams } from '../helpers/ask.ts'
import { testPki } from '../helpers/tls.ts'
import { tokenAuth } from '../helpers/token-auth.ts'
import { on, startUpstream, status, type Fault, type Upstream } from '../helpers/upstream.ts'

const image = buildSampleImage({ layerBytes: 100_000 })
const pki = await testPki()
const server = {
  cert: pki.server.certificatePem,
  key: pki.server.keyPem,
  ca: pki.ca.certificatePem,
  requestCert: true,
  rejectUnauthorized: false,
}

function files(t: Test) {
  const folder = t.testdir({
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
  })
  return { ca: join(folder, 'ca'), cert: join(folder, 'cert'), key: join(folder, 'key') }
}

function start(t: Test, ...faults: Fault[]): Promise<Upstream> {
  return startUpstream(t, { repositories: { app: image }, tls: server, faults })
}

const at = ({ port }: Upstream) => `https://localhost:${port}`
const blob = /\/blobs\//
const [digest, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] ?? []
const resource = `blobs/${digest}`

t.test('an allowed host gets the request, and no credentials', async (t) => {
  const cdn = await start(t)
  const tokens = tokenAuth()
  const registry = await start(t, tokens.fault, (req, res) =>
    on(blob, status(307, { location: `${at(cdn)}${req.url}?signature=abc` }))(req, res),
  )
  const redirects = [`localhost:${cdn.port}`]
  const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
  const { response, body } = await ask(client.open, { resource, from: 50_000 })
  t.equal(response?.status, 206)
  t.ok(bytes !== undefined && body.equals(bytes.subarray(50_000)))
  const [request] = cdn.requests
  t.match(request?.url, /\?signature=abc$/)
  t.equal(request?.headers.range, 'bytes=50000-')
  t.equal(request?.headers.authorization, undefined)
  t.equal(request?.peerSubject, undefined)
  t.equal(registry.requests.at(-1)?.peerSubject, 'CN=client')
  t.match(registry.requests.at(-1)?.headers.authorization, /^Bearer/)
})

t.test('every status of a redirect, and HEAD', async (t) => {
  for (const code of [301, 302, 303, 307, 308]) {
    const cdn = await start(t)
    const registry = await start(t, (req, res) =>
      status(code, { location: `${at(cdn)}${req.url}` })(req, res),
    )
    const redirects = [`local*:${cdn.port}`]
    const { ca } = files(t)
    const client = startUpstreams(t, { url: at(registry), tls: { ca }, redirects })
    const { response } = await ask(client.open, { resource, method: 'HEAD' })
    t.equal(response?.status, 200)
    t.match(cdn.requests, [{ method: 'HEAD' }])
  }
})

t.test('within the upstream credentials are kept', async (t) => {
  const tokens = tokenAuth()
  const registry = await start(t, tokens.fault, (req, res) =>
    on(/^GET \/v2\/app\/blobs\/[^?]*$/, status(307, { location: `${req.url}?again` }))(req, res),
  )
  const client = startUpstreams(t, { url: at(registry), tls: files(t) })
  t.equal((await ask(client.open, { resource })).response?.status, 200)
  const request = registry.requests.at(-1)
  t.match(request?.url, /\?again$/)
  t.match(request?.headers.authorization, /^Bearer/)
  t.equal(request?.peerSubject, 'CN=client')
})

t.test('whoever is redirected back comes without credentials', async (t) => {
  const cdn = await start(t, (req, res) => {
    const location = `${at(registry)}${req.url}?back`
    return status(307, { location })(req, res)
  })
  const tokens = tokenAuth()
  const registry: Upstream = await start(
    t,
    (req, res) => !/\?back/.test(req.url ?? '') && tokens.fault(req, res),
    (req, res) =>
      !/\?back/.test(req.url ?? '') &&
      on(blob, status(307, { location: `${at(cdn)}${req.url}` }))(req, res),
  )
  const redirects = [`localhost:${cdn.port}`]
  const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
  t.equal((await ask(client.open, { resource })).response?.status, 200)
  const request = registry.requests.at(-1)
  t.match(request?.url, /\?back$/)
  t.equal(request?.headers.authorization, undefined)
  t.equal(request?.peerSubject, undefined)
})

t.test('anything else is refused, and nothing is sent there', async (t) => {
  const plain = await startUpstream(t, { repositories: { app: image } })
  const other = await start(t)
  for (const location of [
    `https://127.0.0.1:${other.port}/x`,
    `http://localhost:${plain.port}/x`,
    `https://user:password@localhost:${other.port}/x`,
    'file:///etc/passwd',
    'https://',
    '',
  ]) {
    const registry = await start(t, status(307, { location }))
    const redirects = [`localhost:${other.port}`, `localhost:${plain.port}`]
    const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
    // An empty Location is a loop to the same address: it ends after five.
    const { error } = await ask(client.open, { resource })
    t.match(error, { code: 'UPSTREAM_FAILED', reason: 'bad_response' }, location)
    t.match(client.lines, [{ detail: /redirects/ }])
    t.notMatch(JSON.stringify(client.lines), 'password@')
  }
  const silent = await start(t, status(302))
  const client = startUpstreams(t, { url: at(silent), tls: files(t) })
  t.match((await ask(client.open, {})).error, { reason: 'bad_response' }, 'no Location at all')
  t.equal(plain.requests.length + other.requests.length, 0)
})

t.test('five redirects, and not one more', async (t) => {
  const registry = await start(t, (req, res) => status(307, { location: `${req.url}x` })(req, res))
  const client = startUpstreams(t, { url: at(registry), tls: files(t) })
  t.match((await ask(client.open, {})).error, { reason: 'bad_response' })
  t.equal(registry.requests.length, 6)
})

t.test('a download host that refuses is not the registry refusing', async (t) => {
  const cdn = await start(t, status(403))
  const registry = await start(t, status(307, { location: `${at(cdn)}/x` }))
  const redirects = [`localhost:${cdn.port}`]
  const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
  t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_FAILED', reason: 'http_4xx' })
})

t.test('targets by the rules', async (t) => {
  const target = (location: string, upstream: string, redirects: string[] = []) => {
    const rules = { upstream: new URL(upstream), allowed: hostMatcher(redirects) }
    return redirectTarget(location, new URL(`${upstream}/v2/a/blobs/b`), rules)?.href
  }
  t.equal(target('/x', 'https://a.example'), 'https://a.example/x')
  t.equal(target('c?d', 'https://a.example'), 'https://a.example/v2/a/blobs/c?d')
  t.equal(target('//b.example/x', 'https://a.example', ['b.example']), 'https://b.example/x')
  t.equal(target('https://b.example:444/x', 'https://a.example', ['b.example']), undefined)
  t.equal(target('https://a.example:444/x', 'https://a.example'), undefined)
  t.equal(target('http://a.example/x', 'https://a.example'), undefined)
  t.equal(target('http://b.example/x', 'https://a.example', ['b.example']), undefined)
  t.equal(target('http://b.example/x', 'http://a.example', ['b.example']), 'http://b.example/x')
  t.equal(
    target('https://x.b.example/', 'https://a.example', ['*.b.example']),
    'https://x.b.example/',
  )
  t.equal(target('https://b.example/', 'https://a.example', ['*.b.example']), undefined)
  t.equal(target('https://c.example#.b.example', 'https://a.example', ['*.b.example']), undefined)
})
