// The audit: one line and one count for each refusal, in a stream of its own, over real TLS.
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { hashSync } from 'bcryptjs'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { startTestGateway, type Files, type SendOptions } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { createIssuer } from '../helpers/tokens.ts'
import { startUpstream, status } from '../helpers/upstream.ts'

const pki = await testPki()
const idp = await createIssuer()
const image = await buildSampleImage({ layerBytes: 1000 })
const edge = await issueCertificate(pki.ca, { profile: 'client', commonName: 'edge' })

async function start(t: Test, auth: string, more = '', files: Files = {}) {
  const upstream = await startUpstream(t, {
    repositories: { 'open/app': image, 'closed/app': image },
  })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}', tagTtl: 0s } }
defaultUpstream: registry.test
auth: ${auth}
policy:
  default: deny
  rules:
    - { name: shut, repositories: registry.test/closed/**, effect: deny }
    - { who: { cn: client }, repositories: '**' }
    - { who: { issuer: '${idp.issuer}' }, repositories: registry.test/open/** }
${more}
`,
    {
      files: {
        'jwks.json': JSON.stringify(idp.jwks),
        users: `alice:${hashSync('secret', 4)}`,
        ...files,
      },
    },
  )
  const refusals = async () => {
    const address = `http://127.0.0.1:${gateway.adminPort}/metrics`
    const text = await (await fetch(address)).text()
    const counts = [
      ...text.matchAll(/^portcullis_refused_callers_total\{reason="(\w+)".*\} (\d+)/gm),
    ]
    return Object.fromEntries(counts.map(([, reason, count]) => [reason, Number(count)]))
  }
  return { upstream, refusals, ...gateway }
}

const all = `{ require: any, tokenService: { key: token.key, htpasswd: users }, issuers: [{ issuer: '${idp.issuer}', audience: portcullis, jwks: jwks.json }] }`
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const basic = (login: string) => ({
  authorization: `Basic ${Buffer.from(login).toString('base64')}`,
})
const past = Math.floor(Date.now() / 1000) - 600

const refused: [
  what: string,
  path: string,
  options: SendOptions,
  line: object,
  identity?: string,
][] = [
  [
    'by a rule',
    '/v2/closed/app/manifests/1.0',
    {},
    {
      who: 'CN=client',
      how: 'certificate',
      action: 'pull',
      repository: 'registry.test/closed/app',
      reference: '1.0',
      rule: 'shut',
      reason: 'policy',
    },
    'CN=client',
  ],
  [
    'by no rule',
    '/v2/open/app/tags/list',
    { client: edge },
    { who: 'CN=edge', action: 'list', rule: 'default', reason: 'policy' },
    'CN=edge',
  ],
  [
    'a certificate of another authority',
    '/v2/open/app/manifests/1.0',
    { client: pki.otherClient },
    { who: 'unknown', how: 'certificate', reason: 'unknown_ca' },
  ],
  [
    'an expired certificate',
    '/v2/open/app/manifests/1.0',
    { client: pki.expiredClient },
    { who: 'unknown', reason: 'expired' },
  ],
  [
    'a certificate of another authority at the token service',
    '/token',
    { client: pki.otherClient },
    { who: 'unknown', action: 'token', reason: 'unknown_ca' },
  ],
  [
    'an expired token',
    '/v2/open/app/manifests/1.0',
    { headers: bearer(await idp.sign({ exp: past })) },
    { who: 'CN=client', reason: 'token_expired' },
    'CN=client',
  ],
  [
    'a token for what it may not',
    '/v2/closed/app/manifests/1.0',
    { client: null, headers: bearer(await idp.sign()) },
    { who: `token alice of ${idp.issuer}`, how: 'token', rule: 'shut', reason: 'policy' },
    `token alice of ${idp.issuer}`,
  ],
  [
    'nobody',
    '/v2/open/app/manifests/1.0',
    { client: null },
    { who: 'anonymous', how: 'anonymous', reason: 'no_token' },
    'anonymous',
  ],
  [
    'a wrong password',
    '/token',
    { client: null, headers: basic('alice:wrong') },
    { who: 'alice', how: 'password', action: 'token', reason: 'login' },
    'anonymous',
  ],
  [
    'a password in the place of the user',
    '/token',
    { client: null, headers: basic('my-pass-phrase:x') },
    { who: 'anonymous', action: 'token', reason: 'login' },
    'anonymous',
  ],
]

t.test('one refusal is one line and one count', async (t) => {
  const { send, lines, refusals, lastRequest } = await start(t, all)
  for (const [what, path, options, line, identity] of refused) {
    const [before, from] = [await refusals(), lines.length]
    await send(path, options)
    const request = await lastRequest()
    const told = lines.slice(from).filter(({ audit }) => audit !== undefined)
    t.equal(told.length, 1, `${what}: one line`)
    t.match(told[0], { audit: 'refused', client: /127\.0\.0\.1|::1/, msg: 'audit', ...line }, what)
    t.equal(request?.['identity'], identity, `${what}: the request line names the caller`)
    const after = await refusals()
    const reason = String(told[0]?.['reason'])
    t.same(after, { ...before, [reason]: (before[reason] ?? 0) + 1 }, `${what}: one count`)
  }
})

t.test('a throttled caller is told and counted too', async (t) => {
  const { send, lines, refusals } = await start(t, all)
  for (let i = 0; i < 11; i += 1) {
    await send('/v2/', { headers: bearer(await idp.sign({ aud: 'x', jti: String(i) })) })
  }
  const told = lines.filter(({ audit }) => audit === 'refused')
  t.equal(told.length, 11)
  t.match(told.at(-1), { who: 'CN=client', reason: 'throttled' })
  t.match(await refusals(), { token_audience: 10, throttled: 1 })
})

t.test('a pull by tag is told when it has ended', async (t) => {
  const { send, lines, upstream } = await start(t, all, 'audit: { tagPulls: true }')
  const path = '/v2/open/app/manifests/1.0'
  const digest = image.tags.get('1.0')
  const last = () => lines.findLast(({ audit }) => audit !== undefined)
  await send(path)
  t.match(last(), {
    audit: 'tag',
    who: 'CN=client',
    repository: 'registry.test/open/app',
    tag: '1.0',
    digest,
    outcome: 'served',
    status: 200,
    source: 'upstream',
    method: 'GET',
  })
  await send(path, { headers: { 'if-none-match': `"${digest}"` } })
  t.match(last(), { outcome: 'served', status: 304, digest })
  await send('/v2/open/app/manifests/absent')
  t.match(last(), { tag: 'absent', outcome: 'failed', status: 404, reason: 'MANIFEST_UNKNOWN' })
  t.notOk('digest' in (last() ?? {}))
  upstream.fail(status(500))
  await send('/v2/open/app/manifests/other')
  t.match(last(), { tag: 'other', outcome: 'failed', status: 502, reason: 'http_5xx' })
  const from = lines.length
  await send(`/v2/open/app/manifests/${digest}`)
  t.notOk(
    lines.slice(from).some(({ audit }) => audit !== undefined),
    'by digest: not told',
  )
  await send('/v2/closed/app/manifests/1.0')
  t.match(
    lines.slice(from).filter(({ audit }) => audit !== undefined),
    [{ audit: 'refused' }],
  )
})

/** Every line of a file, once there are so many. */
async function linesIn(file: string, count: number): Promise<Record<string, unknown>[]> {
  for (let tries = 0; ; tries += 1) {
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
    if (lines.length >= count && lines[0] !== '') {
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    }
    if (tries > 1000) throw new Error(`${file} has ${lines.length} lines`)
    await setTimeout(5)
  }
}

t.test('the audit in a file of its own, which is rotated', async (t) => {
  const { send, lines, folder, reload } = await start(
    t,
    all,
    'audit: { file: audit.log }\nlog: { level: error }',
  )
  const file = join(folder, 'audit.log')
  const refuse = async () => send('/v2/closed/app/manifests/1.0')
  await refuse()
  t.match(await linesIn(file, 1), [{ audit: 'refused', msg: 'audit', time: /Z$/, level: 'info' }])
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.notOk(
    lines.some(({ audit }) => audit !== undefined),
    'and not in the log',
  )

  renameSync(file, `${file}.1`)
  await refuse()
  t.equal((await linesIn(`${file}.1`, 2)).length, 2, 'still the one that was opened')
  t.ok(await reload())
  await refuse()
  t.equal((await linesIn(file, 1)).length, 1)
  t.equal((await linesIn(`${file}.1`, 2)).length, 2)

  const config = join(folder, 'gateway.yaml')
  const text = readFileSync(config, 'utf8')
  writeFileSync(config, text.replace('audit.log', 'no/such/folder'))
  t.notOk(await reload(), 'a file that cannot be opened changes nothing')
  t.ok(lines.some(({ msg, problems }) => /audit\.file/.test(JSON.stringify([msg, problems]))))
  writeFileSync(config, text.replace('file: audit.log', 'tagPulls: false'))
  rmSync(file)
  t.ok(await reload())
  const from = lines.length
  await refuse()
  t.ok(
    lines.slice(from).some(({ audit }) => audit === 'refused'),
    'back in the log',
  )
})

t.test('every field is in the reference', async (t) => {
  const reference = readFileSync(join(import.meta.dirname, '../../docs/reference/audit.md'), 'utf8')
  const { send, lines } = await start(t, all, 'audit: { tagPulls: true }')
  for (const [, path, options] of refused) await send(path, options)
  await send('/v2/open/app/manifests/1.0')
  await send('/v2/open/app/manifests/absent')
  const told = lines.filter(({ audit }) => audit !== undefined)
  const fields = new Set(told.flatMap((line) => Object.keys(line)))
  t.ok(fields.size > 10)
  fields.delete('hostname')
  for (const field of fields) t.match(reference, `| \`${field}\``, field)
})
