// ociregistry.yaml says what a running gateway answers: every response of it is brought about.
import { hashSync } from 'bcryptjs'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { readDocument } from '../helpers/api-document.ts'
import { checkContract, type Case } from '../helpers/contract.ts'
import { startTestGateway, type SendOptions, type TestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { createIssuer } from '../helpers/tokens.ts'
import { stallBeforeHeaders, startUpstream, status } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 200_000 })
const index = image.tags.get('1.0') ?? ''
const [layer = ''] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] ?? []
const unknownDigest = `sha256:${'0'.repeat(64)}`
const document = readDocument('ociregistry.yaml')
const pki = await testPki()

/** What is asked below a repository, by operation. */
const resources = {
  getManifest: `manifests/1.0`,
  headManifest: `manifests/1.0`,
  getBlob: `blobs/${layer}`,
  headBlob: `blobs/${layer}`,
  listTags: 'tags/list',
  listReferrers: `referrers/${index}`,
}
type Pull = keyof typeof resources
const pulls = Object.keys(resources) as Pull[]

interface Gateways {
  /** For everybody, in front of upstreams that fail, each in its own way. */
  open: TestGateway
  offline: TestGateway
  /** Where a client certificate is needed. */
  certificates: TestGateway
  /** Where a token is needed; it gives them, too. */
  tokens: TestGateway
  /** Makes the upstream that has been well fail. */
  fail: () => void
}

async function start(t: Test): Promise<Gateways> {
  const repositories = {
    'team/app': image,
    'team/other': image,
    'team/later': image,
    'closed/app': image,
  }
  const upstream = await startUpstream(t, { repositories })
  const busy = await startUpstream(t, {
    repositories,
    faults: [status(429, { 'retry-after': '60' })],
  })
  const slow = await startUpstream(t, { repositories, faults: [stallBeforeHeaders()] })
  const down = await startUpstream(t, { repositories })
  await down.close()
  const upstreams = `upstreams:
  good.test: { url: '${upstream.url}', tagTtl: 0s }
  busy.test: { url: '${busy.url}' }
  down.test: { url: '${down.url}' }
  slow.test: { url: '${slow.url}', headersTimeout: 200ms }
defaultUpstream: good.test
`
  const policy = `policy: { rules: [{ repositories: '*/closed/**', effect: deny }] }\n`
  const files = { users: `alice:${hashSync('secret', 4)}` }
  const idp = `{ issuer: 'https://idp.example', audience: portcullis, jwks: 'https://localhost:1/' }`
  const tokenService = `{ key: token.key, htpasswd: users }`
  return {
    open: await startTestGateway(t, `${upstreams}${policy}`),
    offline: await startTestGateway(t, `${upstreams}offline: true`),
    certificates: await startTestGateway(t, `${upstreams}auth: { require: certificate }`),
    tokens: await startTestGateway(
      t,
      `${upstreams}auth: { require: token, issuers: [${idp}], tokenService: ${tokenService} }`,
      { files },
    ),
    fail: () => upstream.fail(status(503)),
  }
}

const methodOf = (id: string) => document.operations.find((each) => each.id === id)?.method ?? ''

function caseOf(
  gateway: TestGateway,
  operation: string,
  expected: number,
  path: string,
  options: SendOptions & { code?: string } = {},
): Case {
  const { code, ...rest } = options
  const method = methodOf(operation)
  return {
    operation,
    status: expected,
    ...(code === undefined || method === 'HEAD' ? {} : { code }),
    send: async () => {
      const { status, headers, body } = await gateway.send(path, { method, ...rest })
      return { status, headers: headers as Record<string, string>, body }
    },
  }
}

const inRepository = (name: string, id: Pull) => `/v2/${name}/${resources[id]}`
const nobody = { client: null }
const stranger = { client: pki.otherClient, code: 'DENIED' }

function pullCases({ open, offline, tokens }: Gateways, unverifiable: string): Case[] {
  const headers = { authorization: `Bearer ${unverifiable}` }
  return pulls.flatMap((id) => [
    caseOf(open, id, 200, inRepository('team/app', id)),
    caseOf(open, id, 200, `${inRepository('team/app', id)}?ns=good.test`),
    caseOf(open, id, 400, inRepository('Team', id), { code: 'NAME_INVALID' }),
    caseOf(tokens, id, 401, inRepository('team/app', id), { ...nobody, code: 'UNAUTHORIZED' }),
    caseOf(open, id, 403, inRepository('closed/app', id), { code: 'DENIED' }),
    caseOf(open, id, 403, inRepository('team/app', id), stranger),
    caseOf(open, id, 404, `${inRepository('team/app', id)}?ns=no.test`, { code: 'NAME_UNKNOWN' }),
    caseOf(open, id, 429, inRepository('busy.test/a', id), { code: 'TOOMANYREQUESTS' }),
    caseOf(open, id, 502, inRepository('down.test/a', id), { code: 'UPSTREAM_FAILED' }),
    caseOf(offline, id, 503, inRepository('team/app', id), { code: 'UNAVAILABLE' }),
    caseOf(tokens, id, 503, inRepository('team/app', id), { headers, code: 'UNAVAILABLE' }),
    caseOf(open, id, 504, inRepository('slow.test/a', id), { code: 'UPSTREAM_TIMEOUT' }),
  ])
}

function contentCases({ open }: Gateways): Case[] {
  const range = { headers: { range: 'bytes=0-9' } }
  const beyond = { headers: { range: 'bytes=9999999-' }, code: 'RANGE_INVALID' }
  const known = { headers: { 'if-none-match': `"${index}", "${layer}"` } }
  return [
    ...(['getManifest', 'getBlob'] as const).flatMap((id) => [
      caseOf(open, id, 206, `${inRepository('team/app', id)}?ns=good.test`, range),
      caseOf(open, id, 416, inRepository('team/app', id), beyond),
    ]),
    ...(['getManifest', 'headManifest', 'getBlob'] as const).map((id) =>
      caseOf(open, id, 304, `${inRepository('team/app', id)}?ns=good.test`, known),
    ),
    ...(['getManifest', 'headManifest'] as const).map((id) =>
      caseOf(open, id, 404, '/v2/team/app/manifests/none', { code: 'MANIFEST_UNKNOWN' }),
    ),
    ...(['getBlob', 'headBlob'] as const).flatMap((id) => [
      caseOf(open, id, 404, `/v2/team/app/blobs/${unknownDigest}`, { code: 'BLOB_UNKNOWN' }),
      caseOf(open, id, 400, '/v2/team/app/blobs/sha256:x', { code: 'DIGEST_INVALID' }),
    ]),
    caseOf(open, 'getManifest', 400, '/v2/team%2Fapp/manifests/1.0', { code: 'REQUEST_INVALID' }),
  ]
}

function listCases({ open }: Gateways): Case[] {
  const badPage = { code: 'PAGINATION_NUMBER_INVALID' }
  return [
    caseOf(open, 'listTags', 200, '/v2/team/app/tags/list?n=1'),
    caseOf(open, 'listTags', 400, '/v2/team/app/tags/list?n=x', badPage),
    caseOf(open, 'listReferrers', 200, `/v2/team/app/referrers/${index}?artifactType=text/plain`),
    caseOf(open, 'listRepositories', 200, '/v2/_catalog'),
    caseOf(open, 'getManifest', 200, '/v2/team/other/manifests/1.0'),
    caseOf(open, 'listRepositories', 200, '/v2/_catalog?n=1'),
    caseOf(open, 'listRepositories', 400, '/v2/_catalog?n=x', badPage),
  ]
}

function entranceCases({ open, certificates, tokens }: Gateways, unverifiable: string): Case[] {
  const headers = { authorization: `Bearer ${unverifiable}` }
  const entrances = { checkVersion: '/v2/', listRepositories: '/v2/_catalog' }
  return [
    caseOf(open, 'checkVersion', 200, '/v2/'),
    ...Object.entries(entrances).flatMap(([id, path]) => [
      caseOf(tokens, id, 401, path, { ...nobody, code: 'UNAUTHORIZED' }),
      caseOf(certificates, id, 403, path, { ...nobody, code: 'DENIED' }),
      caseOf(open, id, 404, `${path}?ns=no.test`, { code: 'NAME_UNKNOWN' }),
      caseOf(tokens, id, 503, path, { headers, code: 'UNAVAILABLE' }),
    ]),
    caseOf(open, 'checkVersion', 404, '/v2/nowhere', { code: 'NOT_FOUND' }),
    caseOf(open, 'checkVersion', 431, '/v2/', {
      headers: { 'x-long': 'x'.repeat(40_000) },
      code: 'HEADERS_TOO_LARGE',
    }),
  ]
}

function pushCases({ open }: Gateways): Case[] {
  const refused = { code: 'UNSUPPORTED' }
  return [
    caseOf(open, 'putManifest', 405, '/v2/team/app/manifests/1.0', { body: '{}', ...refused }),
    caseOf(open, 'deleteManifest', 405, '/v2/team/app/manifests/1.0', refused),
    caseOf(open, 'deleteBlob', 405, `/v2/team/app/blobs/${layer}`, refused),
    caseOf(open, 'startUpload', 405, '/v2/team/app/blobs/uploads/', refused),
  ]
}

const basic = (login: string) => `Basic ${Buffer.from(login).toString('base64')}`
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const login = 'grant_type=password&username=alice&password='

function tokenCases({ open, tokens }: Gateways): Case[] {
  const query = '/token?scope=repository:team/app:pull&offline_token=true'
  const headers = { authorization: basic('alice:secret') }
  const wrong = { ...nobody, headers: { authorization: basic('alice:wrong') } }
  const post = (body: string) => ({ ...nobody, headers: form, body })
  return [
    caseOf(tokens, 'getToken', 200, query, { ...nobody, headers }),
    caseOf(tokens, 'getToken', 400, '/token?service=x', { headers, code: 'REQUEST_INVALID' }),
    caseOf(tokens, 'getToken', 401, '/token', { ...wrong, code: 'UNAUTHORIZED' }),
    caseOf(tokens, 'getToken', 403, '/token', stranger),
    caseOf(open, 'getToken', 404, '/token', { code: 'NOT_FOUND' }),
    caseOf(tokens, 'postToken', 200, '/token', post(`${login}secret`)),
    caseOf(tokens, 'postToken', 400, '/token', { ...post('x=y'), code: 'REQUEST_INVALID' }),
    caseOf(tokens, 'postToken', 401, '/token', { ...post(`${login}x`), code: 'UNAUTHORIZED' }),
    caseOf(tokens, 'postToken', 403, '/token', { ...post(`${login}secret`), ...stranger }),
    caseOf(open, 'postToken', 405, '/token', { ...post(`${login}secret`), code: 'UNSUPPORTED' }),
    caseOf(tokens, 'getTokenKeys', 200, '/token/jwks.json'),
    caseOf(open, 'getTokenKeys', 404, '/token/jwks.json', { code: 'NOT_FOUND' }),
  ]
}

/** The last ones: nobody from here may try again for a while. */
function throttledCases({ tokens }: Gateways): Case[] {
  const code = 'TOOMANYREQUESTS'
  const headers = { authorization: 'Bearer a.b.c' }
  return [
    caseOf(tokens, 'checkVersion', 429, '/v2/', { headers, code }),
    caseOf(tokens, 'listRepositories', 429, '/v2/_catalog', { headers, code }),
    caseOf(tokens, 'getToken', 429, '/token', {
      headers: { authorization: basic('alice:wrong') },
      code,
    }),
    caseOf(tokens, 'postToken', 429, '/token', { headers: form, body: `${login}wrong`, code }),
  ]
}

/** Answers from the cache while the upstream is ill: with a warning. */
function staleCases({ open }: Gateways): Case[] {
  const lasting = pulls.filter((id) => id !== 'getBlob' && id !== 'headBlob')
  // Lists that were asked for a moment ago are served without asking: these never were.
  const repository = (id: Pull) => (id.startsWith('list') ? 'team/later' : 'team/app')
  return lasting.map((id) => caseOf(open, id, 200, inRepository(repository(id), id)))
}

/** Each of the cases, after `prepare`. */
function after(prepare: () => unknown, cases: readonly Case[]): Case[] {
  return cases.map((each) => ({
    ...each,
    send: async () => {
      await prepare()
      return each.send()
    },
  }))
}

t.test('every documented response and header', async (t) => {
  const gateways = await start(t)
  const unverifiable = await (await createIssuer()).sign()
  const fail = async () => {
    await gateways.open.send(inRepository('team/later', 'getManifest'))
    gateways.fail()
  }
  const exhaust = async () => {
    const headers = { authorization: 'Bearer a.b.c' }
    for (let tries = 0; tries < 12; tries += 1) await gateways.tokens.send('/v2/', { headers })
  }
  await checkContract(t, document, [
    ...pullCases(gateways, unverifiable),
    ...contentCases(gateways),
    ...listCases(gateways),
    ...entranceCases(gateways, unverifiable),
    ...pushCases(gateways),
    ...tokenCases(gateways),
    ...after(fail, staleCases(gateways)),
    ...after(exhaust, throttledCases(gateways)),
  ])
})
