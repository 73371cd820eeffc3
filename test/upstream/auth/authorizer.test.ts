// Who the gateway is at an upstream, and to whom it does not say so.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UsageError } from '../../../src/errors.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { parseChallenge, trustedRealm } from '../../../src/upstream/auth/challenge.ts'
import { readCredentials } from '../../../src/upstream/auth/credentials.ts'
import { hostMatcher } from '../../../src/upstream/host-pattern.ts'
import { ask, startUpstreams, upstreamConfig, type Overrides } from '../../helpers/ask.ts'
import { testPki } from '../../helpers/tls.ts'
import { tokenAuth, type TokenAuthOptions } from '../../helpers/token-auth.ts'
import { startUpstream, status, times, type Fault } from '../../helpers/upstream.ts'

const image = buildSampleImage({ layerBytes: 1000 })
const pki = await testPki()
const credentials = { username: 'robot', password: 's3cret:with=signs' }
const basic = `Basic ${Buffer.from(`robot:${credentials.password}`).toString('base64')}`

async function start(t: Test, faults: Fault[], auth: Overrides['auth'] = {}) {
  const upstream = await startUpstream(t, { repositories: { app: image, other: image }, faults })
  return { upstream, client: startUpstreams(t, { url: upstream.url, auth }) }
}

function startWithTokens(t: Test, options: TokenAuthOptions = {}, auth: Overrides['auth'] = {}) {
  const tokens = tokenAuth(options)
  return start(t, [tokens.fault], auth).then((started) => ({ ...started, tokens }))
}

/** The `auth` section that names a file with the password. */
function byFile(t: Test): Overrides['auth'] {
  const passwordFile = join(t.testdir({ password: `${credentials.password}\n` }), 'password')
  return { username: 'robot', passwordFile }
}

const requireBasic: Fault = (req, res) => {
  if (req.headers.authorization === basic) return false
  return status(401, { 'www-authenticate': 'Basic realm="registry"' })(req, res)
}

t.test('an anonymous token', async (t) => {
  const { client, tokens, upstream } = await startWithTokens(t)
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.match(tokens.asked, [{ method: 'GET', authorization: undefined }])
  t.equal(tokens.asked[0]?.parameters.get('scope'), 'repository:app:pull')
  t.equal(tokens.asked[0]?.parameters.get('service'), 'test')
  t.equal(upstream.count(/^GET \/v2\//), 2, 'a challenge and an answer')

  t.equal((await ask(client.open, { resource: 'tags/list' })).response?.status, 200)
  t.equal(tokens.asked.length, 1, 'the token is kept')
  t.equal(upstream.count(/^GET \/v2\//), 3, 'and sent without being asked')
  t.equal((await ask(client.open, { repository: 'other' })).response?.status, 200)
  t.equal(tokens.asked.length, 2, 'each repository has its own')
})

t.test('a token for a password', async (t) => {
  const { client, tokens } = await startWithTokens(t, { credentials }, byFile(t))
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.match(tokens.asked, [{ method: 'GET', authorization: basic }])
})

t.test('a token for an identity token', async (t) => {
  const auths = (url: string) => ({ [url]: { auth: 'PHRva2VuPjo=', identitytoken: 'refresh-me' } })
  const tokens = tokenAuth({ credentials: { username: 'x', password: 'refresh-me' } })
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [tokens.fault],
  })
  const folder = t.testdir({ 'config.json': JSON.stringify({ auths: auths(upstream.url) }) })
  const auth = { dockerConfig: join(folder, 'config.json') }
  const client = startUpstreams(t, { url: upstream.url, auth })
  t.equal((await ask(client.open, {})).response?.status, 200)
  const { method, parameters } = tokens.asked[0] ?? {}
  t.equal(method, 'POST')
  t.same(Object.fromEntries(parameters ?? []), {
    grant_type: 'refresh_token',
    refresh_token: 'refresh-me',
    client_id: 'portcullis',
    service: 'test',
    scope: 'repository:app:pull',
  })
})

t.test('requests at the same time share one token', async (t) => {
  const { client, tokens } = await startWithTokens(t)
  const all = await Promise.all(Array.from({ length: 20 }, () => ask(client.open, {})))
  t.ok(all.every(({ response }) => response?.status === 200))
  t.equal(tokens.asked.length, 1)
})

t.test('a token is renewed before it runs out', async (t) => {
  const { client, tokens, upstream } = await startWithTokens(t, { expiresIn: 300 })
  await ask(client.open, {})
  client.forward(265_000)
  await ask(client.open, {})
  t.equal(tokens.asked.length, 1)
  client.forward(10_000)
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(tokens.asked.length, 2)
  t.equal(upstream.requests.filter(({ url }) => url.startsWith('/v2/')).length, 5)
})

t.test('a token without expires_in is good for a minute', async (t) => {
  const { client, tokens } = await startWithTokens(t)
  await ask(client.open, {})
  client.forward(50_000)
  await ask(client.open, {})
  t.equal(tokens.asked.length, 1)
  client.forward(10_000)
  await ask(client.open, {})
  t.equal(tokens.asked.length, 2)
})

t.test('a token that is no longer taken is replaced, once', async (t) => {
  const { client, tokens } = await startWithTokens(t)
  await ask(client.open, {})
  tokens.revoke()
  const all = await Promise.all(Array.from({ length: 5 }, () => ask(client.open, {})))
  t.ok(all.every(({ response }) => response?.status === 200))
  t.equal(tokens.asked.length, 2)
})

t.test('an upstream that takes no token refuses the gateway', async (t) => {
  const tokens = tokenAuth()
  const { client, upstream } = await start(t, [
    (req, res) => {
      delete req.headers.authorization
      return tokens.fault(req, res)
    },
  ])
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'DENIED', reason: 'denied' })
  t.match(error?.message, 'upstreams.up.auth')
  t.equal(upstream.count(/^GET \/v2\//), 2, 'it is asked twice, and not for ever')
})

t.test('a wrong password', async (t) => {
  const { client } = await startWithTokens(
    t,
    {
      credentials: { username: 'robot', password: 'another' },
    },
    byFile(t),
  )
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'DENIED', reason: 'denied' })
  t.match(error?.message, 'the token service of the upstream up')
  t.notMatch(JSON.stringify([client.lines, error]), credentials.password)
})

t.test('Basic authentication', async (t) => {
  const { client, upstream } = await start(t, [requireBasic], byFile(t))
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(upstream.requests.length, 3, 'from then on it is sent at once')
  const anonymous = await start(t, [requireBasic])
  t.match((await ask(anonymous.client.open, {})).error, { code: 'DENIED', reason: 'denied' })
})

t.test('the password from the environment', async (t) => {
  process.env['PORTCULLIS_TEST_PASSWORD'] = credentials.password
  t.teardown(() => delete process.env['PORTCULLIS_TEST_PASSWORD'])
  const auth = { username: 'robot', passwordEnv: 'PORTCULLIS_TEST_PASSWORD' }
  const { client } = await start(t, [requireBasic], auth)
  t.equal((await ask(client.open, {})).response?.status, 200)
})

t.test('403 is final', async (t) => {
  const { client, upstream } = await start(t, [status(403)])
  t.match((await ask(client.open, {})).error, { code: 'DENIED', reason: 'denied' })
  t.equal(upstream.requests.length, 1)
})

t.test('a token service that has a bad day', async (t) => {
  for (const [fault, expected, requests] of [
    [times(1, status(503)), undefined, 2],
    [status(500), { code: 'UPSTREAM_FAILED', reason: 'http_5xx' }, 1],
    [status(429, { 'retry-after': '600' }), { code: 'TOOMANYREQUESTS' }, 1],
    [status(200, {}, '<html>'), { code: 'UPSTREAM_FAILED', reason: 'bad_response' }, 1],
    [status(200, {}, '{"token":"a\\r\\nx: y"}'), { reason: 'bad_response' }, 1],
    [status(200, {}, '{}'), { reason: 'bad_response' }, 1],
    [status(200, {}, 'null'), { reason: 'bad_response' }, 1],
    [status(307, { location: 'https://127.0.0.1:1/' }), { reason: 'unexpected_status' }, 1],
    [(() => true) as Fault, { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' }, undefined],
  ] as const) {
    const tokens = tokenAuth()
    const { client, upstream } = await start(t, [
      (req, res) => (req.url ?? '').startsWith('/token') && fault(req, res),
      tokens.fault,
    ])
    const { error, response } = await ask(client.open, {})
    if (expected === undefined) t.equal(response?.status, 200)
    else t.match(error, expected)
    if (requests !== undefined) t.equal(upstream.count(/\/token/), requests)
  }
})

t.test('credentials and tokens are asked for only where that is allowed', async (t) => {
  const elsewhere = await startUpstream(t, { repositories: {} })
  for (const realm of [
    `http://localhost:${elsewhere.port}/token`,
    `https://localhost:${elsewhere.port}/token`,
    `http://user:password@127.0.0.1:${elsewhere.port}/token`,
    'ftp://127.0.0.1/token',
    'no url',
  ]) {
    const { client, tokens } = await startWithTokens(t, { credentials, realm }, byFile(t))
    const { error } = await ask(client.open, {})
    t.match(error, { code: 'UPSTREAM_FAILED', reason: 'bad_response' }, realm)
    t.match(client.lines, [{ detail: /auth\.realms/ }])
    t.equal(tokens.asked.length, 0)
  }
  t.equal(elsewhere.requests.length, 0, 'not one request leaves')
})

t.test('a realm that the config allows', async (t) => {
  const service = tokenAuth({ credentials })
  const elsewhere = await startUpstream(t, { repositories: {}, faults: [service.fault] })
  const host = `localhost:${elsewhere.port}`
  const accept: Fault = (req, res) => {
    if (req.headers.authorization === 'Bearer token-1') return false
    const header = `Bearer realm="http://${host}/token",service="test",scope="repository:app:pull"`
    return status(401, { 'www-authenticate': header })(req, res)
  }
  const { client } = await start(t, [accept], { ...byFile(t), realms: [host] })
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(service.asked.length, 1)
})

t.test('the token service sees the client certificate only at the same origin', async (t) => {
  const folder = t.testdir({
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
  })
  const tls = { ca: join(folder, 'ca'), cert: join(folder, 'cert'), key: join(folder, 'key') }
  const server = {
    cert: pki.server.certificatePem,
    key: pki.server.keyPem,
    ca: pki.ca.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
  }
  const own = tokenAuth()
  const registry = await startUpstream(t, {
    repositories: { app: image },
    tls: server,
    faults: [own.fault],
  })
  const client = startUpstreams(t, { url: `https://localhost:${registry.port}`, tls })
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.ok(registry.requests.every(({ peerSubject }) => peerSubject === 'CN=client'))

  const service = tokenAuth()
  const other = await startUpstream(t, { repositories: {}, tls: server, faults: [service.fault] })
  const realm = `https://localhost:${other.port}/token`
  const challenging = tokenAuth({ realm })
  const split = await startUpstream(t, {
    repositories: { app: image },
    tls: server,
    faults: [
      (req, res) => req.headers.authorization !== 'Bearer token-1' && challenging.fault(req, res),
    ],
  })
  const second = startUpstreams(t, { url: `https://localhost:${split.port}`, tls })
  t.equal((await ask(second.open, {})).response?.status, 200)
  t.match(other.requests, [{ peerSubject: undefined }])
})

t.test('challenges as registries write them', async (t) => {
  const bearer = { scheme: 'bearer', realm: 'https://a/t', service: 's', scope: 'a:b:pull,push' }
  for (const header of [
    'Bearer realm="https://a/t",service="s",scope="a:b:pull,push"',
    'bearer  realm = "https://a/t" , service = s, scope="a:b:pull,push"',
    'Basic realm="x", Bearer realm="https://a/t",service="s",scope="a:b:pull,push"',
    'Negotiate, Bearer scope="a:b:pull,push",service="s",realm="https:\\/\\/a/t", Basic realm="x"',
  ]) {
    t.same(parseChallenge(header), bearer, header)
  }
  t.same(parseChallenge('Basic realm="x"'), { scheme: 'basic' })
  for (const header of [undefined, '', 'Negotiate', 'Bearer service="s"', '=,"', 'Bearer realm']) {
    t.equal(parseChallenge(header), undefined, String(header))
  }
})

t.test('which realms belong to a registry', async (t) => {
  const isTrusted = (realm: string, upstream: string, realms: string[] = []) =>
    trustedRealm(realm, new URL(upstream), hostMatcher(realms)) !== undefined
  for (const [realm, upstream, realms] of [
    ['https://auth.docker.io/token', 'https://registry-1.docker.io'],
    ['https://gitlab.com/jwt/auth', 'https://registry.gitlab.com'],
    ['https://ghcr.io/token', 'https://ghcr.io'],
    ['https://host:8443/token', 'https://host:5000'],
    ['http://host/token', 'http://host:5000'],
    ['https://host/token', 'http://host:5000'],
    ['https://login.example/token', 'https://registry.local', ['login.example']],
    ['https://a.login.example:8443/t', 'https://registry.local', ['*.login.example:8443']],
  ] as const) {
    t.ok(isTrusted(realm, upstream, [...(realms ?? [])]), realm)
  }
  for (const [realm, upstream, realms] of [
    ['http://auth.docker.io/token', 'https://registry-1.docker.io'],
    ['https://docker.io.evil.example/token', 'https://registry-1.docker.io'],
    ['https://evil.github.io/token', 'https://registry.github.io'],
    ['https://evil.co.uk/token', 'https://registry.co.uk'],
    ['https://evil.ns.svc.cluster.local/t', 'https://registry.ns.svc.cluster.local'],
    ['https://127.0.0.2/token', 'https://127.0.0.1'],
    ['https://login.example:8443/token', 'https://registry.local', ['login.example']],
    ['https://loginXexample/token', 'https://registry.local', ['login.example']],
    ['https://evil.example/login.example', 'https://registry.local', ['*login.example']],
  ] as const) {
    t.notOk(isTrusted(realm, upstream, [...(realms ?? [])]), realm)
  }
})

t.test('a docker config', async (t) => {
  const read = (content: unknown, name: string, url: string) => {
    const file = join(t.testdir({}), 'config.json')
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    try {
      return readCredentials(name, upstreamConfig({ url, auth: { dockerConfig: file } }))
    } catch (error) {
      if (error instanceof UsageError) return error.message
      throw error
    }
  }
  const auth = Buffer.from('robot:a:b').toString('base64')
  const password = { kind: 'password', username: 'robot', password: 'a:b' }
  const hub = 'https://registry-1.docker.io'
  t.same(read({ auths: { 'https://index.docker.io/v1/': { auth } } }, 'docker.io', hub), password)
  const local = 'https://registry.local:5000'
  for (const key of ['registry.local:5000', 'https://registry.local:5000/v2/', 'mirror.local']) {
    t.same(read({ auths: { [key]: { auth } } }, 'mirror.local', local), password, key)
  }
  t.match(read({ auths: {} }, 'mirror.local', local), /auth\.dockerConfig: .*has no credentials/)
  t.match(
    read({ credHelpers: { 'registry.local:5000': 'pass' } }, 'mirror.local', local),
    /credential helper, which is not supported/,
  )
  t.match(read({ auths: { 'mirror.local': {} }, credsStore: 'x' }, 'mirror.local', local), /helper/)
  const broken = read(`{"auths": ${auth}`, 'mirror.local', local)
  t.match(broken, /is no docker config/)
  t.notMatch(broken, auth)
})

t.test('passwords that cannot be read', async (t) => {
  const empty = join(t.testdir({ empty: '\n' }), 'empty')
  for (const [auth, expected] of [
    [{ username: 'a', passwordFile: '/nowhere' }, /auth\.passwordFile: cannot read \/nowhere/],
    [{ username: 'a', passwordFile: empty }, /auth\.passwordFile: .*empty is empty/],
    [{ username: 'a', passwordEnv: 'NOT_SET_AT_ALL' }, /auth\.passwordEnv: names an environment/],
    [{ dockerConfig: '/nowhere' }, /auth\.dockerConfig: cannot read/],
  ] as const) {
    t.throws(() => startUpstreams(t, { url: 'https://localhost', auth }), { message: expected })
  }
})
