// Who the gateway is at an upstream, and to whom it does not say so.
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UsageError } from '../../../src/errors.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { parseChallenges, trustedRealm } from '../../../src/upstream/auth/challenge.ts'
import { CredentialsUnavailable } from '../../../src/upstream/auth/credentials.ts'
import { readCredentials } from '../../../src/upstream/auth/read-credentials.ts'
import { hostMatcher } from '../../../src/upstream/host-pattern.ts'
import { ask, startUpstreams, upstreamConfig, type Overrides } from '../../helpers/ask.ts'
import { testPki } from '../../helpers/tls.ts'
import { tokenAuth, type TokenAuth, type TokenAuthOptions } from '../../helpers/token-auth.ts'
import { startUpstream, status, times, type Fault } from '../../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1000 })
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

const basicChallenge = { 'www-authenticate': 'Basic realm="registry"' }
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
  t.match(error, { code: 'DENIED', reason: 'credentials_refused', blame: { status: 401 } })
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
    t.same(parseChallenges(header)[0], bearer, header)
  }
  t.same(parseChallenges('Basic realm="x"'), [{ scheme: 'basic' }])
  for (const header of [undefined, '', 'Negotiate', 'Bearer service="s"', '=,"', 'Bearer realm']) {
    t.same(parseChallenges(header), [], String(header))
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
  const read = async (content: unknown, name: string, url: string) => {
    const file = join(t.testdir({}), 'config.json')
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    try {
      const { proxy: _, ...config } = {
        ...upstreamConfig({ url, auth: { dockerConfig: file } }),
        url,
      }
      const source = readCredentials(name, { at: `upstreams.${name}`, config })
      return await source?.get()
    } catch (error) {
      if (error instanceof UsageError || error instanceof CredentialsUnavailable) {
        return error.message
      }
      throw error
    }
  }
  const auth = Buffer.from('robot:a:b').toString('base64')
  const password = { kind: 'password', username: 'robot', password: 'a:b' }
  const hub = 'https://registry-1.docker.io'
  const hubConfig = { auths: { 'https://index.docker.io/v1/': { auth } } }
  t.same(await read(hubConfig, 'docker.io', hub), password)
  const local = 'https://registry.local:5000'
  for (const key of ['registry.local:5000', 'https://registry.local:5000/v2/', 'mirror.local']) {
    t.same(await read({ auths: { [key]: { auth } } }, 'mirror.local', local), password, key)
  }
  t.match(await read({ auths: {} }, 'mirror.local', local), /auth\.dockerConfig: .*has no cred/)
  const none = 'none-of-this-name'
  t.match(
    await read(
      { auths: { 'mirror.local': { auth } }, credHelpers: { 'registry.local:5000': none } },
      'mirror.local',
      local,
    ),
    /docker-credential-none-of-this-name is not installed/,
    'a helper of its own goes first',
  )
  const both = { auths: { 'mirror.local': { auth } }, credsStore: none }
  t.same(await read(both, 'mirror.local', local), password)
  t.match(
    await read({ auths: { 'mirror.local': {} }, credsStore: none }, 'mirror.local', local),
    /PATH/,
  )
  t.match(
    await read({ credHelpers: { 'mirror.local': '../../evil' } }, 'mirror.local', local),
    /names no credential helper/,
  )
  const broken = await read(`{"auths": ${auth}`, 'mirror.local', local)
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

/** A registry that wants a token, and answers one it does not like by `refusal`. */
function fickle(tokens: TokenAuth, refusal: Fault, isLiked: (header: string) => boolean): Fault {
  return (req, res) => {
    const { authorization } = req.headers
    const isToken = authorization !== undefined && req.url?.startsWith('/token') === false
    return isToken && !isLiked(authorization) ? refusal(req, res) : tokens.fault(req, res)
  }
}

t.test('a token that is not accepted any more, however that is said', async (t) => {
  for (const refusal of [
    status(401, { 'www-authenticate': 'Basic realm="harbor"' }),
    status(401),
    status(403),
  ]) {
    const tokens = tokenAuth()
    let disliked = ''
    const { client, upstream } = await start(t, [
      fickle(tokens, refusal, (header) => header !== disliked),
    ])
    t.equal((await ask(client.open, {})).response?.status, 200)
    disliked = 'Bearer token-1'
    t.equal((await ask(client.open, {})).response?.status, 200)
    t.equal(tokens.asked.length, 2)
    t.equal(upstream.count(/^GET \/v2\//), 5, 'the old one, without, and the new one')
    t.equal((await ask(client.open, {})).response?.status, 200)
    t.equal(upstream.count(/^GET \/v2\//), 6, 'the new one is kept')
  }
})

t.test('where no token is liked any more, nothing is', async (t) => {
  const tokens = tokenAuth()
  let isClosed = false
  const { client, upstream } = await start(t, [
    (req, res) =>
      isClosed && req.headers.authorization === undefined && req.url?.startsWith('/v2/') === true
        ? false
        : fickle(tokens, status(403), () => !isClosed)(req, res),
  ])
  t.equal((await ask(client.open, {})).response?.status, 200)
  isClosed = true
  t.equal((await ask(client.open, {})).response?.status, 200, 'it is public now')
  t.equal(upstream.count(/^GET \/v2\//), 4)
})

t.test('what is refused for ever is asked three times at most', async (t) => {
  const tokens = tokenAuth()
  let isClosed = false
  const { client, upstream } = await start(t, [fickle(tokens, status(403), () => !isClosed)])
  await ask(client.open, {})
  isClosed = true
  t.match((await ask(client.open, {})).error, { code: 'DENIED', reason: 'denied' })
  t.equal(upstream.count(/^GET \/v2\//), 5)
})

t.test('challenges that name no repository, or another one', async (t) => {
  for (const [scope, asked] of [
    ['', ['repository:app:pull']],
    ['repository:user/image:pull', ['repository:app:pull', 'repository:user/image:pull']],
    ['repository:app:pull,push', ['repository:app:pull,push']],
    ['repository:app:pull registry:x:*', ['repository:app:pull', 'registry:x:*']],
  ] as const) {
    const tokens = tokenAuth()
    const { client } = await start(t, [
      (req, res) => {
        if (req.headers.authorization !== undefined && req.url?.startsWith('/v2/') === true) {
          return false
        }
        if (req.url?.startsWith('/token') === true) return tokens.fault(req, res)
        const parts = [`realm="http://${req.headers.host}/token"`, 'service="s"']
        if (scope !== '') parts.push(`scope="${scope}"`)
        return status(401, { 'www-authenticate': `Bearer ${parts.join(',')}` })(req, res)
      },
    ])
    t.equal((await ask(client.open, {})).response?.status, 200)
    t.same(tokens.asked[0]?.parameters.getAll('scope'), asked)
  }
})

t.test('answers of token services', async (t) => {
  for (const fault of [
    status(201, {}, '{"token":"token-1"}'),
    status(200, {}, '{"token":"","access_token":"token-1"}'),
    status(200, {}, '{"token":null,"access_token":"token-1","expires_in":"300"}'),
  ]) {
    const tokens = tokenAuth()
    const { client } = await start(t, [
      (req, res) => (req.url ?? '').startsWith('/token') && fault(req, res),
      (req, res) => req.headers.authorization !== 'Bearer token-1' && tokens.fault(req, res),
    ])
    t.equal((await ask(client.open, {})).response?.status, 200)
  }
})

t.test('credentials that have expired', async (t) => {
  const others = { credentials: { username: 'robot', password: 'renewed' } }
  for (const code of [400, 401, 403]) {
    const isAnonymous = (header: string | undefined) => header === undefined
    const refusing = (fault: Fault): Fault =>
      function refuse(req, res) {
        const isOfUs =
          req.url?.startsWith('/token') === true && !isAnonymous(req.headers.authorization)
        return isOfUs ? status(code)(req, res) : fault(req, res)
      }
    const open = tokenAuth()
    const publicly = await start(t, [refusing(open.fault)], byFile(t))
    t.equal((await ask(publicly.client.open, {})).response?.status, 200, 'a public image')
    t.same(publicly.client.badAnswers, [['up', 'credentials_refused']], 'counted')
    t.match(publicly.client.lines, [{ reason: 'credentials_refused' }], 'and told')
    t.equal((await ask(publicly.client.open, {})).response?.status, 200)
    t.equal(publicly.client.badAnswers.length, 1, 'what anybody gets is kept as long as it is good')

    const hidden = tokenAuth(others)
    const privately = await start(t, [refusing(hidden.fault)], byFile(t))
    const { error } = await ask(privately.client.open, {})
    t.match(error, { code: 'DENIED', reason: 'credentials_refused', blame: { status: code } })

    const strict = await start(t, [refusing(open.fault)], { ...byFile(t), fallback: 'none' })
    t.match((await ask(strict.client.open, {})).error, { reason: 'credentials_refused' })
  }
})

t.test('a token for anybody that does not open the repository', async (t) => {
  const tokens = tokenAuth()
  const { client } = await start(
    t,
    [
      (req, res) => {
        if (req.url?.startsWith('/token') === true) {
          return req.headers.authorization === undefined
            ? tokens.fault(req, res)
            : status(401)(req, res)
        }
        return req.headers.authorization === undefined
          ? tokens.fault(req, res)
          : status(403)(req, res)
      },
    ],
    byFile(t),
  )
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'DENIED', reason: 'credentials_refused' }, 'that is the cause')
})

t.test('a password that is not taken any more', async (t) => {
  let isTaken = true
  const { client, upstream } = await start(
    t,
    [(req, res) => (isTaken ? requireBasic(req, res) : status(401, basicChallenge)(req, res))],
    byFile(t),
  )
  await ask(client.open, {})
  isTaken = false
  t.match((await ask(client.open, {})).error, { code: 'DENIED', reason: 'credentials_refused' })
  t.equal(upstream.requests.length, 4, 'with it, and once without')
})

t.test('a password of many lines', async (t) => {
  const password = '{\n  "type": "service_account"\n}'
  const expected = `Basic ${Buffer.from(`_json_key:${password}`).toString('base64')}`
  for (const end of ['', '\n', '\r\n']) {
    const passwordFile = join(t.testdir({ password: password + end }), 'password')
    const auth = { username: '_json_key', passwordFile }
    const { client, upstream } = await start(
      t,
      [
        (req, res) =>
          req.headers.authorization !== expected && status(401, basicChallenge)(req, res),
      ],
      auth,
    )
    t.equal((await ask(client.open, {})).response?.status, 200)
    t.equal(upstream.requests.length, 2)
  }
})

t.test('a token service that does not end, in time or in size', async (t) => {
  for (const [write, expected] of [
    [
      (res: ServerResponse) => {
        const timer = setInterval(() => res.write(' '), 20)
        res.once('close', () => clearInterval(timer))
      },
      { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' },
    ],
    [
      (res: ServerResponse) => {
        const more = () => {
          if (!res.destroyed && res.write(Buffer.alloc(65_536, ' '))) setImmediate(more)
          else res.once('drain', more)
        }
        more()
      },
      { code: 'UPSTREAM_FAILED', reason: 'bad_response' },
    ],
  ] as const) {
    const tokens = tokenAuth()
    const upstream = await startUpstream(t, {
      repositories: { app: image },
      faults: [
        (req, res) => {
          if (req.url?.startsWith('/token') !== true) return tokens.fault(req, res)
          write(res.writeHead(200))
          return true
        },
      ],
    })
    const client = startUpstreams(t, { url: upstream.url, headersTimeout: 300 })
    t.match((await ask(client.open, {})).error, expected)
  }
})

t.test('what a token service repeats is not told on', async (t) => {
  for (const code of [400, 500]) {
    const tokens = tokenAuth()
    const { client } = await start(
      t,
      [
        (req, res) =>
          req.url?.startsWith('/token') === true
            ? status(code, {}, `${credentials.password} ${req.headers.authorization}`)(req, res)
            : tokens.fault(req, res),
      ],
      byFile(t),
    )
    const { error } = await ask(client.open, {})
    const told = JSON.stringify([client.lines, error, error?.message, String(error?.cause)])
    t.notMatch(told, credentials.password)
    t.notMatch(told, basic.slice('Basic '.length))
  }
})

t.test('a token service with a certificate of an unknown authority gets nothing', async (t) => {
  const tls = { cert: pki.otherServer.certificatePem, key: pki.otherServer.keyPem }
  const service = await startUpstream(t, { repositories: {}, tls })
  const { fault } = tokenAuth({ realm: `https://localhost:${service.port}/token` })
  const registry = await startUpstream(t, {
    repositories: { app: image },
    tls: { cert: pki.server.certificatePem, key: pki.server.keyPem },
    faults: [fault],
  })
  const folder = t.testdir({ ca: pki.ca.certificatePem, password: credentials.password })
  const client = startUpstreams(t, {
    url: `https://localhost:${registry.port}`,
    tls: { ca: join(folder, 'ca') },
    auth: { username: 'robot', passwordFile: join(folder, 'password') },
  })
  t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_FAILED', reason: 'unknown_ca' })
  t.equal(service.requests.length, 0)
})

t.test('of a header beyond reason only the beginning is read', async (t) => {
  t.same(parseChallenges(`${'x="y",'.repeat(2000)}Bearer realm="https://a/t"`), [])
  t.same(
    parseChallenges('Bearer realm="https://a/t", Basic realm="x", Bearer realm="https://b/t"').map(
      ({ scheme }) => scheme,
    ),
    ['bearer', 'bearer', 'basic'],
  )
})
