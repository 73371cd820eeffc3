// Who gets what, over real TLS: every kind of caller x `auth.require` x repository.
import { X509Certificate, createHash } from 'node:crypto'
import { hashSync } from 'bcryptjs'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { issueCertificate, type Issued } from '../../src/pki/authority.ts'
import { startTestGateway, type Files, type SendOptions } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { createIssuer } from '../helpers/tokens.ts'
import { startUpstream } from '../helpers/upstream.ts'

const pki = await testPki()
const idp = await createIssuer()
const image = await buildSampleImage({ layerBytes: 1000 })
const client = (commonName: string) =>
  issueCertificate(pki.ca, { profile: 'client', commonName, dnsNames: [`${commonName}.example`] })
const [edgeA, edgeB] = await Promise.all([client('edge-a'), client('edge-b')])

function thumbprint({ certificatePem }: Issued): string {
  return createHash('sha256').update(new X509Certificate(certificatePem).raw).digest('base64url')
}

async function start(t: Test, auth: string, files: Files = {}) {
  const upstream = await startUpstream(t, {
    repositories: { 'allowed/app': image, 'closed/app': image },
  })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }
defaultUpstream: registry.test
auth: ${auth}
policy:
  default: deny
  rules:
    - { name: nodes, who: { cn: edge-a }, repositories: registry.test/allowed/** }
    - { name: people, who: { group: dev }, repositories: registry.test/allowed/** }
    - { name: user, who: { issuer: portcullis, subject: alice }, repositories: registry.test/allowed/** }
`,
    { files: { ...files, 'jwks.json': JSON.stringify(idp.jwks) } },
  )
  return { upstream, ...gateway }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const dev = { groups: ['dev'] }
const now = Math.floor(Date.now() / 1000)
const callers: Record<string, SendOptions> = {
  nobody: { client: null },
  'certificate a': { client: edgeA },
  'certificate b': { client: edgeB },
  'certificate of another CA': { client: pki.otherClient },
  token: { client: null, headers: bearer(await idp.sign(dev)) },
  'expired token': { client: null, headers: bearer(await idp.sign({ ...dev, exp: now - 60 })) },
  'token for others': { client: null, headers: bearer(await idp.sign({ ...dev, aud: 'x' })) },
  'token of another certificate': {
    client: edgeB,
    headers: bearer(await idp.sign({ ...dev, cnf: { 'x5t#S256': thumbprint(edgeA) } })),
  },
  'certificate and its token': {
    client: edgeA,
    headers: bearer(await idp.sign({ ...dev, cnf: { 'x5t#S256': thumbprint(edgeA) } })),
  },
}

/** Status for the allowed repository, and for the closed one, as `200/403`. */
const expected: Record<string, Record<string, string>> = {
  none: {
    nobody: '401/401',
    'certificate a': '200/403',
    'certificate b': '403/403',
    'certificate of another CA': '403/403',
    token: '200/403',
    'expired token': '401/401',
    'token for others': '401/401',
    'token of another certificate': '401/401',
    'certificate and its token': '200/403',
  },
  certificate: {
    nobody: '403/403',
    'certificate a': '200/403',
    'certificate b': '403/403',
    'certificate of another CA': '403/403',
    token: '403/403',
    'expired token': '403/403',
    'token for others': '403/403',
    'token of another certificate': '403/403',
    'certificate and its token': '200/403',
  },
  token: {
    nobody: '401/401',
    'certificate a': '401/401',
    'certificate b': '401/401',
    'certificate of another CA': '403/403',
    token: '200/403',
    'expired token': '401/401',
    'token for others': '401/401',
    'token of another certificate': '401/401',
    'certificate and its token': '200/403',
  },
  any: {
    nobody: '401/401',
    'certificate a': '200/403',
    'certificate b': '403/403',
    'certificate of another CA': '403/403',
    token: '200/403',
    'expired token': '401/401',
    'token for others': '401/401',
    'token of another certificate': '401/401',
    'certificate and its token': '200/403',
  },
  all: {
    nobody: '403/403',
    'certificate a': '401/401',
    'certificate b': '401/401',
    'certificate of another CA': '403/403',
    token: '403/403',
    'expired token': '401/401',
    'token for others': '401/401',
    'token of another certificate': '401/401',
    'certificate and its token': '200/403',
  },
}

const issuers = `issuers: [{ issuer: '${idp.issuer}', audience: portcullis, jwks: jwks.json }]`

for (const [require, rows] of Object.entries(expected)) {
  t.test(`auth.require: ${require}`, async (t) => {
    const { send, lines, upstream } = await start(t, `{ require: ${require}, ${issuers} }`)
    for (const [name, options] of Object.entries(callers)) {
      const statuses: number[] = []
      for (const repository of ['allowed/app', 'closed/app']) {
        const answer = await send(`/v2/${repository}/manifests/1.0`, options)
        statuses.push(answer.status)
        const challenge = answer.headers['www-authenticate']
        if (answer.status === 401) {
          t.match(challenge, /^Bearer service="portcullis"/, `${name}: a challenge`)
          t.match(challenge, `scope="repository:registry.test/${repository}:pull"`)
          t.equal(answer.code, 'UNAUTHORIZED')
        } else t.equal(challenge, undefined, `${name}: no challenge`)
        if (answer.status === 403) t.equal(answer.code, 'DENIED')
        if (answer.status === 200) continue
        const told = lines.findLast(({ msg }) => msg === 'audit')
        t.match(told, { audit: 'refused', client: /127\.0\.0\.1|::1/, reason: /^\w+$/, how: /\w/ })
        t.notMatch(JSON.stringify(lines), /eyJ/, 'no token is logged')
      }
      t.equal(statuses.join('/'), rows[name], name)
    }
    t.equal(upstream.count(/closed/), 0, 'what is not allowed is not even looked up')
  })
}

t.test('what a challenge says', async (t) => {
  const { send } = await start(t, `{ require: token, ${issuers} }`)
  const challenge = async (options: SendOptions) =>
    (await send('/v2/', options)).headers['www-authenticate']
  t.equal(await challenge(callers['nobody'] ?? {}), 'Bearer service="portcullis"')
  t.match(await challenge(callers['expired token'] ?? {}), 'error="invalid_token"')
  t.equal((await send('/v2/', callers['token'])).status, 200)
  const basic = { authorization: `Basic ${btoa('alice:secret')}` }
  t.equal((await send('/v2/', { client: null, headers: basic })).status, 401)
})

for (const [require, expected] of Object.entries({
  none: [200, 200],
  certificate: [403, 200],
  token: [401, 401],
})) {
  t.test(`/v2/ with auth.require: ${require}`, async (t) => {
    const { send } = await start(t, `{ require: ${require}, ${issuers} }`)
    const status = async (options: SendOptions) => (await send('/v2/', options)).status
    t.same([await status({ client: null }), await status({ client: edgeB })], expected)
  })
}

t.test('lists show what the caller may see', async (t) => {
  const { send } = await start(t, `{ require: any, ${issuers} }`)
  const reader = { client: edgeA }
  t.equal((await send('/v2/allowed/app/manifests/1.0', reader)).status, 200)
  const catalog = async (options: SendOptions) =>
    JSON.parse((await send('/v2/_catalog', options)).body.toString()) as object
  t.same(await catalog(reader), { repositories: ['registry.test/allowed/app'] })
  t.same(await catalog({ client: edgeB }), { repositories: [] })
  t.equal((await send('/v2/closed/app/tags/list', reader)).status, 403)
})

t.test('nobody learns what is wrong with a request who may not come', async (t) => {
  const { send } = await start(t, `{ require: token, ${issuers} }`)
  t.equal((await send('/v2/a/manifests/1.0?ns=unknown', { client: null })).status, 401)
  const forged = { client: null, headers: bearer('a.b.c') }
  t.equal((await send('/v2/a/manifests/1.0?ns=unknown', forged)).status, 401)
  t.equal((await send('/v2/a/manifests/1.0?ns=unknown', callers['token'])).status, 404)
})

t.test('token after token that is wrong is slowed down', async (t) => {
  const { send } = await start(t, `{ require: token, ${issuers} }`)
  const statuses: number[] = []
  for (let count = 0; count < 12; count += 1) {
    const headers = bearer(await idp.sign({ aud: 'x', jti: String(count) }))
    statuses.push((await send('/v2/', { client: null, headers })).status)
  }
  t.equal(statuses[0], 401)
  t.equal(statuses.at(-1), 429)
  const right = bearer(await idp.sign({ jti: 'right' }))
  const slowed = await send('/v2/', { client: null, headers: right })
  t.equal(slowed.status, 429)
  t.match(slowed.headers['retry-after'], /^\d+$/)
})

t.test('the token service: challenge, token, pull', async (t) => {
  const files = { users: `alice:${hashSync('secret', 4)}\n` }
  const service = 'tokenService: { key: token.key, htpasswd: users }'
  const { send, port } = await start(t, `{ require: any, ${service} }`, files)
  const path = '/v2/allowed/app/manifests/1.0'
  const challenge = (await send(path, { client: null })).headers['www-authenticate'] ?? ''
  t.match(challenge, `realm="https://localhost:${port}/token",service="portcullis"`)
  const scope = /scope="([^"]+)"/.exec(challenge)?.[1] ?? ''

  const tokenFor = async (options: SendOptions, query = `?service=portcullis&scope=${scope}`) => {
    const answer = await send(`/token${query}`, options)
    const { token = '' } = JSON.parse(answer.body.toString()) as { token?: string }
    return { answer, token }
  }
  const basic = (password: string) => ({ authorization: `Basic ${btoa(`alice:${password}`)}` })
  const wrong = await tokenFor({ client: null, headers: basic('wrong') })
  t.match(wrong.answer, { status: 401, code: 'UNAUTHORIZED' })
  const alice = await tokenFor({ client: null, headers: basic('secret') })
  t.equal(alice.answer.headers['cache-control'], 'no-store')
  t.equal((await send(path, { client: null, headers: bearer(alice.token) })).status, 200)
  const elsewhere = { client: null, headers: bearer(alice.token) }
  t.equal((await send('/v2/closed/app/manifests/1.0', elsewhere)).status, 403)
  const closed = await tokenFor(
    { client: null, headers: basic('secret') },
    '?scope=repository:closed/app:pull',
  )
  t.same(decodeJwt(closed.token)['access'], [], 'a part that is not allowed is left out')

  const node = await tokenFor({ client: edgeA })
  t.equal((await send(path, { client: edgeA, headers: bearer(node.token) })).status, 200)
  t.equal((await send(path, { client: null, headers: bearer(node.token) })).status, 401, 'bound')
  t.equal((await send(path, { client: edgeB, headers: bearer(node.token) })).status, 401, 'bound')

  const form = new URLSearchParams({
    grant_type: 'password',
    service: 'portcullis',
    client_id: 'test',
    username: 'alice',
    password: 'secret',
    scope,
    access_type: 'offline',
  })
  const posted = await send('/token', {
    method: 'POST',
    client: null,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  })
  t.equal(posted.status, 200)
  t.match(JSON.parse(posted.body.toString()), {
    access_token: /^eyJ/,
    refresh_token: /^eyJ/,
    scope,
  })
  const keys = await send('/token/jwks.json', { client: null })
  t.match(JSON.parse(keys.body.toString()), { keys: [{ kty: 'EC', crv: 'P-256', use: 'sig' }] })
  t.notMatch(keys.body.toString(), '"d"', 'the public half only')
  const json = { method: 'POST', client: null, headers: { 'content-type': 'application/json' } }
  t.equal((await send('/token', { ...json, body: '{}' })).status, 400)
})
