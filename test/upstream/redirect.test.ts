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

const image = await buildSampleImage({ layerBytes: 100_000 })
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

t.test('a download host that is dead or refuses is left for a fresh address', async (t) => {
  const good = await start(t)
  for (const fault of [
    status(403),
    status(401),
    status(401, { 'www-authenticate': 'Basic realm="bucket"' }),
    status(503),
    ((req) => Boolean(req.socket.destroy())) as Fault,
  ]) {
    const bad = await start(t, fault)
    const addresses = [bad, good]
    const registry = await start(t, (req, res) =>
      on(blob, status(307, { location: `${at(addresses.shift() ?? good)}${req.url}` }))(req, res),
    )
    const redirects = [`localhost:${bad.port}`, `localhost:${good.port}`]
    const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
    const { response, body } = await ask(client.open, { resource })
    t.equal(response?.status, 200)
    t.ok(bytes !== undefined && body.equals(bytes))
    t.equal(bad.requests.length, 1)
    t.equal(registry.requests.length, 2)
  }
})

t.test('a HEAD that a signed address refuses is refused at once', async (t) => {
  const cdn = await start(t, status(403))
  const registry = await start(t, status(307, { location: `${at(cdn)}/x` }))
  const redirects = [`localhost:${cdn.port}`]
  const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
  const { error } = await ask(client.open, { resource, method: 'HEAD' })
  t.match(error, { reason: 'http_4xx', blame: { status: 403, host: `localhost:${cdn.port}` } })
  t.equal(registry.requests.length, 1)
})

t.test('a registry that has moved as a whole, with a challenge of its own', async (t) => {
  const realm = await start(t, (req, res) => service.fault(req, res))
  const service = tokenAuth({ realm: `${at(realm)}/token` })
  const moved = await startUpstream(t, {
    repositories: { 'there/app': image },
    tls: server,
    faults: [service.fault],
  })
  const own = tokenAuth()
  const registry = await start(t, own.fault, (req, res) =>
    on(/^GET \/v2\//, (given, answer) => {
      const location = `${at(moved)}${(given.url ?? '').replace('/v2/app', '/v2/there/app')}`
      return status(307, { location })(given, answer)
    })(req, res),
  )
  const redirects = [`localhost:${moved.port}`]
  const config = { url: at(registry), tls: files(t), redirects }
  const client = startUpstreams(t, { ...config, auth: { realms: [`localhost:${realm.port}`] } })
  for (const request of [{}, { resource }, { resource: 'tags/list' }]) {
    t.equal((await ask(client.open, request)).response?.status, 200)
  }
  t.equal(service.asked.length, 1, 'its token is kept, too')
  t.match(service.asked, [{ authorization: undefined }])
  t.equal(service.asked[0]?.parameters.get('scope'), 'repository:there/app:pull')
  t.ok(moved.requests.every(({ peerSubject }) => peerSubject === undefined))

  const elsewhere = tokenAuth({ realm: 'https://login.example/token' })
  const far = await start(t, elsewhere.fault)
  const toFar = await start(t, (req, res) =>
    status(307, { location: `${at(far)}${req.url}` })(req, res),
  )
  const strict = startUpstreams(t, {
    url: at(toFar),
    tls: { ca: config.tls.ca },
    redirects: [`localhost:${far.port}`],
  })
  t.match((await ask(strict.open, {})).error?.message, /add it to upstreams\.up\.auth\.realms/)
})

t.test('a password is not for a registry that it has moved to', async (t) => {
  const folder = t.testdir({ ca: pki.ca.certificatePem, password: 'secret' })
  const moved = await start(t, (req, res) => {
    const headers = { 'www-authenticate': `Basic realm="x", Bearer realm="${at(moved)}/token"` }
    if (req.url?.startsWith('/token') === true) return status(401)(req, res)
    return status(401, headers)(req, res)
  })
  const registry = await start(t, (req, res) =>
    status(307, { location: `${at(moved)}${req.url}` })(req, res),
  )
  const client = startUpstreams(t, {
    url: at(registry),
    tls: { ca: join(folder, 'ca') },
    redirects: [`localhost:${moved.port}`],
    auth: { username: 'robot', passwordFile: join(folder, 'password') },
  })
  t.ok((await ask(client.open, {})).error)
  t.ok(moved.requests.length > 1)
  t.ok(moved.requests.every(({ headers }) => headers.authorization === undefined))
})

t.test('whoever has left stays without credentials, also two steps on', async (t) => {
  const tokens = tokenAuth()
  const cdn = await start(t, (req, res) =>
    status(307, { location: `${at(registry)}${req.url}?back` })(req, res),
  )
  const registry: Upstream = await start(
    t,
    (req, res) => !/\?back/.test(req.url ?? '') && tokens.fault(req, res),
    on(/\?back$/, (req, res) => status(307, { location: `${req.url}-again` })(req, res)),
    (req, res) =>
      !/\?back/.test(req.url ?? '') &&
      on(blob, status(307, { location: `${at(cdn)}${req.url}` }))(req, res),
  )
  const redirects = [`localhost:${cdn.port}`]
  const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
  t.equal((await ask(client.open, { resource })).response?.status, 200)
  const request = registry.requests.at(-1)
  t.match(request?.url, /\?back-again$/)
  t.equal(request?.headers.authorization, undefined)
  t.equal(request?.peerSubject, undefined)
})

t.test('a download host with a certificate of an unknown authority gets no request', async (t) => {
  const cdn = await startUpstream(t, {
    repositories: { app: image },
    tls: { cert: pki.otherServer.certificatePem, key: pki.otherServer.keyPem },
  })
  const registry = await start(t, status(307, { location: `${at(cdn)}/x` }))
  const redirects = [`localhost:${cdn.port}`]
  const client = startUpstreams(t, { url: at(registry), tls: files(t), redirects })
  const { error } = await ask(client.open, { resource })
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'unknown_ca' })
  t.match(error?.message, 'the download host localhost')
  t.equal(cdn.requests.length, 0)
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

t.test('download hosts and token services show a certificate of `ca`, too', async (t) => {
  const stranger = await startUpstream(t, {
    repositories: { app: image },
    tls: { cert: pki.otherServer.certificatePem, key: pki.otherServer.keyPem },
  })
  const host = `localhost:${stranger.port}`
  const redirecting = await start(t, (req, res) =>
    on(blob, status(307, { location: `${at(stranger)}${req.url}` }))(req, res),
  )
  const tls = files(t)
  const byRedirect = startUpstreams(t, { url: at(redirecting), tls, redirects: [host] })
  const redirected = await ask(byRedirect.open, { resource })
  t.match(redirected.error, { code: 'UPSTREAM_FAILED', reason: 'unknown_ca' })

  const challenging = await start(t, tokenAuth({ realm: `${at(stranger)}/token` }).fault)
  const byToken = startUpstreams(t, { url: at(challenging), tls, auth: { realms: [host] } })
  const challenged = await ask(byToken.open, {})
  t.match(challenged.error, { code: 'UPSTREAM_FAILED', reason: 'unknown_ca' })
  t.equal(stranger.requests.length, 0, 'nothing was told to it, a password least of all')
})

t.test('patterns of hosts: runs of characters in the name, the port as it is', async (t) => {
  const cases: [pattern: string, url: string, isAllowed: boolean][] = [
    ['cdn.example', 'https://cdn.example/x', true],
    ['cdn.example', 'https://cdn.example:443/x', true],
    ['cdn.example', 'https://cdn.example:8443/x', false],
    ['cdn.example:8443', 'https://cdn.example:8443/x', true],
    ['cdn.example:8443', 'https://cdn.example/x', false],
    ['*.cdn.example', 'https://a.b.cdn.example/x', true],
    ['*.cdn.example', 'https://cdn.example/x', false],
    ['*.cdn.example', 'https://a.cdn.example.evil/x', false],
    ['*.cdn.example', 'https://evil/?a.cdn.example', false],
    ['cdn*', 'https://cdn.example:8443/x', false],
    ['cdn-*.s3.*.amazonaws.com', 'https://cdn-1.s3.eu.amazonaws.com/x', true],
    ['a.example', 'https://aXexample/x', false],
  ]
  for (const [pattern, url, isAllowed] of cases) {
    t.equal(hostMatcher([pattern])(new URL(url)), isAllowed, `${pattern} ${url}`)
  }
})
