// Secrets planted wherever one can stand, and a search of everything that leaves the gateway.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { runCommand } from '../helpers/command.ts'
import { startTestGateway, type SendOptions } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { tokenAuth } from '../helpers/token-auth.ts'
import { createIssuer } from '../helpers/tokens.ts'
import { startUpstream, type Fault } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1000 })
const idp = await createIssuer()

/** Whether `output` holds any eight characters in a row of the canary, in the case of no matter which. */
function leak(output: string, canary: string): string | undefined {
  const lower = output.toLowerCase()
  for (let index = 0; index + 8 <= canary.length; index += 1) {
    const part = canary.slice(index, index + 8)
    if (lower.includes(part.toLowerCase())) return part
  }
  return undefined
}

/** Everything that the gateway said: its log, its metrics, and what its clients were answered. */
async function outputOf(
  { lines, adminPort }: { lines: object[]; adminPort: number },
  answers: string[],
): Promise<string> {
  const metrics = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()
  return [...lines.map((line) => JSON.stringify(line)), metrics, ...answers].join('\n')
}

const password = 'qpzmCanary7xwvuZorkmid'
const basic = Buffer.from(`robot:${password}`).toString('base64')

/** An upstream that repeats the credentials in each place where an answer can have them. */
const echoes: Record<string, (authorization: string) => [number, Record<string, string>, string]> =
  {
    body: (text) => [500, {}, `headers received: authorization=${text}`],
    page: (text) => [403, { 'content-type': 'text/html' }, `<pre>${text}</pre>`],
    client: (text) => [400, {}, text],
    late: (text) => [503, { 'retry-after': '0' }, text],
    part: (text) => [409, {}, `it ends in ${text.slice(-12)}`],
    decoded: () => [451, {}, `user robot, password ${password}`],
    url: () => [418, {}, `?password=${encodeURIComponent(password)}`],
    twice: (text) => [500, {}, Buffer.from(text).toString('base64')],
    document: (text) => [200, { 'content-type': 'application/json' }, `<pre>${text}`],
    starts: (text) => [200, { 'content-type': 'application/json' }, text.replace('Basic ', '')],
    type: (text) => [
      200,
      {
        'content-type': `application/vnd.oci.image.${text.replace('Basic ', '').replaceAll('=', '')}`,
      },
      JSON.stringify({ mediaType: `application/${password}`, layers: [] }),
    ],
    location: (text) => [
      307,
      { location: `https://${text.replace('Basic ', '').replaceAll('=', '')}.evil.example/` },
      '',
    ],
    path: (text) => [307, { location: `https://evil.example/${text}` }, ''],
    realm: (text) => [
      401,
      {
        'www-authenticate': `Bearer realm="https://${text.replace('Basic ', '').replaceAll('=', '')}.example/token",service="${text}"`,
      },
      text,
    ],
    challenge: (text) => [401, { 'www-authenticate': text }, text],
    limited: (text) => [429, { 'retry-after': text }, text],
  }

const echoing: Fault = (req, res) => {
  const kind = /^\/v2\/echo\/([a-z]+)\//.exec(req.url ?? '')?.[1] ?? ''
  const { authorization } = req.headers
  const echo = echoes[kind]
  if (authorization === undefined) {
    res.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    return true
  }
  if (echo === undefined) return false
  const [status, headers, body] = echo(authorization)
  res.writeHead(status, authorization, headers).end(body)
  return true
}

t.test('an upstream that repeats what it was sent', async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image }, faults: [echoing] })
  const gateway = await startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}', auth: { username: robot, passwordFile: pw } } }
defaultUpstream: up.test`,
    { files: { pw: password } },
  )
  for (const kind of Object.keys(echoes)) {
    const from = gateway.lines.length
    const answers: string[] = []
    for (const what of ['manifests/1', 'tags/list', `blobs/sha256:${'0'.repeat(64)}`]) {
      // What is no blob ends with the connection.
      const answer = await gateway.send(`/v2/echo/${kind}/${what}`).catch(() => undefined)
      // What is content is the upstream's own, and passed on as it is.
      if (answer === undefined || answer.status < 400) continue
      answers.push(JSON.stringify(answer.headers), answer.body.toString())
    }
    const lines = gateway.lines.slice(from)
    const output = await outputOf({ ...gateway, lines }, answers)
    t.equal(leak(output, password), undefined, `${kind}: no password`)
    t.equal(leak(output, basic), undefined, `${kind}: no header`)
    t.equal(leak(output, Buffer.from(basic).toString('base64')), undefined, kind)
  }
  t.ok(upstream.requests.some(({ headers }) => headers.authorization === `Basic ${basic}`))
})

t.test('a list of referrers that repeats what it was sent', async (t) => {
  const listed = { size: 2, digest: `sha256:${'1'.repeat(64)}` }
  const repeating: Fault = (req, res) => {
    const sent = req.headers.authorization ?? ''
    if (sent === '' || req.url?.includes('/referrers/') !== true) return echoing(req, res)
    const annotations = {
      'org.example.sent': `authorization=${sent}`,
      [sent]: 'sent',
      'org.example.decoded': JSON.stringify({ password }),
      'org.example.url': encodeURIComponent(password),
      'org.example.title': 'an SBOM',
    }
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    const manifests = [
      { ...listed, mediaType, annotations },
      { ...listed, mediaType, artifactType: `application/${basic.replaceAll('=', '')}` },
      { ...listed, mediaType: `application/${password}` },
    ]
    res
      .writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json' })
      .end(JSON.stringify({ schemaVersion: 2, manifests }))
    return true
  }
  const upstream = await startUpstream(t, { repositories: { app: image }, faults: [repeating] })
  const gateway = await startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}', auth: { username: robot, passwordFile: pw } } }
defaultUpstream: up.test`,
    { files: { pw: password } },
  )
  const { status, body } = await gateway.send(`/v2/app/referrers/sha256:${'0'.repeat(64)}`)
  t.equal(status, 200)
  t.match(JSON.parse(body.toString()), {
    manifests: [{ annotations: { 'org.example.title': 'an SBOM' } }, listed],
  })
  const output = await outputOf(gateway, [body.toString()])
  for (const canary of [password, basic]) t.equal(leak(output, canary), undefined)
})

t.test(
  'a registry that repeats a token, and a token service that repeats a password',
  async (t) => {
    const auth = tokenAuth({ credentials: { username: 'robot', password } })
    const token = 'jWtCanaryTokenOfTheService'
    const repeating: Fault = (req, res) => {
      const given = req.headers.authorization ?? ''
      if (req.url?.startsWith('/token') === true && /fails/.test(req.url)) {
        res.writeHead(500).end(`sent: ${given} ${password}`)
        return true
      }
      if (req.url?.startsWith('/token') === true) {
        res.writeHead(200).end(JSON.stringify({ token }))
        return true
      }
      if (given === '') return auth.fault(req, res)
      res.writeHead(500).end(`token ${given.replace('Bearer ', '')} is odd`)
      return true
    }
    const upstream = await startUpstream(t, { repositories: {}, faults: [repeating] })
    const gateway = await startTestGateway(
      t,
      `upstreams: { up.test: { url: '${upstream.url}', auth: { username: robot, passwordFile: pw } } }
defaultUpstream: up.test`,
      { files: { pw: password } },
    )
    const answers: string[] = []
    for (const name of ['works', 'fails']) {
      answers.push((await gateway.send(`/v2/${name}/manifests/1`)).body.toString())
    }
    const output = await outputOf(gateway, answers)
    for (const canary of [password, basic, token]) t.equal(leak(output, canary), undefined)
    t.ok(upstream.requests.some(({ headers }) => headers.authorization === `Bearer ${token}`))
  },
)

/** As `echoing`, whatever is asked for. */
function repeats(kind: string): Fault {
  return (req, res) => {
    const { authorization } = req.headers
    const [status, headers, body] =
      authorization === undefined
        ? [401, { 'www-authenticate': 'Basic realm="x"' }, '']
        : (echoes[kind]?.(authorization) ?? [500, {}, ''])
    res.writeHead(status, headers).end(body)
    return true
  }
}

t.test('check and doctor', async (t) => {
  const upstream = await startUpstream(t, { repositories: {} })
  const { keyPem } = (await testPki()).server
  const hash = hashSync('secret', 4)
  const folder = t.testdir({ pw: password, 'server.key': keyPem, users: `alice:${hash}` })
  const { certificatePem } = (await testPki()).server
  writeFileSync(join(folder, 'server.crt'), certificatePem)
  writeFileSync(
    join(folder, 'gateway.yaml'),
    `listen: { tls: { cert: server.crt, key: server.key } }
auth: { require: any, tokenService: { key: token.key, htpasswd: users } }
upstreams:
  up.test: { url: '${upstream.url}', auth: { username: robot, passwordFile: pw } }
  wrong.test: { url: 'https://robot:${password}@127.0.0.1:1', auth: { username: robot, passwordFile: users } }
`,
  )
  const canaries = [password, basic, hash.slice(8), ...keyPem.split('\n').slice(1, -2)]
  const quiet = async (...args: string[]) => {
    const { stdout, stderr } = await runCommand(args, { cwd: folder })
    for (const canary of canaries) {
      t.equal(leak(stdout + stderr, canary), undefined, args.join(' '))
    }
    return stdout
  }
  await quiet('check', '--config', 'gateway.yaml')
  await quiet('check', '--config', 'gateway.yaml', '--as', 'CN=edge-1', 'up.test/app')
  writeFileSync(
    join(folder, 'right.yaml'),
    `listen: { insecureHttp: true }
upstreams: { up.test: { url: '${upstream.url}', auth: { username: robot, passwordFile: pw } } }
`,
  )
  t.match(await quiet('check', '--config', 'right.yaml'), /passwordFile/, 'its config is shown')
  for (const kind of Object.keys(echoes)) {
    upstream.fail(repeats(kind))
    await quiet('doctor', '--config', 'right.yaml')
    await quiet('doctor', '--config', 'right.yaml', '--json')
  }
  t.ok(upstream.requests.some(({ headers }) => headers.authorization === `Basic ${basic}`))
})

const canary = 'zqCanary9kkjhPlanted'

async function clientGateway(t: Test) {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  return startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}' } }
defaultUpstream: up.test
audit: { tagPulls: true }
auth:
  require: any
  tokenService: { key: token.key, htpasswd: users }
  issuers: [{ issuer: '${idp.issuer}', audience: portcullis, jwks: jwks.json }]
`,
    {
      files: {
        users: `alice:${hashSync(canary, 4)}`,
        'jwks.json': JSON.stringify(idp.jwks),
      },
    },
  )
}

const encoded = (text: string) => Buffer.from(text).toString('base64')
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const jwt = await idp.sign({ note: canary, exp: 1 })
const [, claims = '', signature = ''] = jwt.split('.')

const planted: [what: string, path: string, options: SendOptions][] = [
  ['a password in the query of the token service', `/token?password=${canary}`, {}],
  ['a scope', `/token?scope=repository:${canary}:pull`, {}],
  ['a service', `/token?service=${canary}`, {}],
  ['the query of an unknown path', `/login?token=${canary}`, {}],
  ['an unknown path', `/${canary}/x`, {}],
  ['a path below /v2/', `/v2/${canary}`, {}],
  ['an invalid name', `/v2/${canary}/manifests/1`, {}],
  ['an invalid tag', `/v2/app/manifests/.${canary}`, {}],
  ['an invalid digest', `/v2/app/manifests/sha256:${canary}`, {}],
  ['a query of a manifest', `/v2/app/manifests/1.0?access_token=${canary}`, {}],
  ['ns', `/v2/app/manifests/1.0?ns=${canary}`, {}],
  ['X-Registry', '/v2/app/manifests/1.0', { headers: { 'x-registry': canary } }],
  ['n of a list', `/v2/app/tags/list?n=${canary}`, {}],
  ['a method', `/v2/app/manifests/${canary}x?a`, { method: 'DELETE' }],
  ['a password', '/token', { headers: { authorization: `Basic ${encoded(`bob:${canary}`)}` } }],
  ['a right one', '/token', { headers: { authorization: `Basic ${encoded(`alice:${canary}`)}` } }],
  ['a user', '/token', { headers: { authorization: `Basic ${encoded(`${canary}:x`)}` } }],
  ['a bearer', '/v2/', { headers: { authorization: `Bearer ${canary}` } }],
  [
    'a bearer at a manifest',
    '/v2/app/manifests/1.0',
    { headers: { authorization: `Bearer ${jwt}` } },
  ],
  ['another scheme', '/v2/', { headers: { authorization: `Digest ${canary}` } }],
  [
    'a form',
    '/token',
    {
      method: 'POST',
      headers: form,
      body: `grant_type=password&username=${canary}&password=${canary}`,
    },
  ],
  [
    'a refresh token',
    '/token',
    { method: 'POST', headers: form, body: `grant_type=refresh_token&refresh_token=${canary}` },
  ],
  ['a grant type', '/token', { method: 'POST', headers: form, body: `grant_type=${canary}` }],
  [
    'a body',
    '/token',
    { method: 'POST', headers: { 'content-type': 'application/json' }, body: canary },
  ],
  ['a cookie', '/v2/app/manifests/1.0', { headers: { cookie: `session=${canary}` } }],
]

for (const [what, path, options] of planted) {
  t.test(`from a client: ${what}`, async (t) => {
    const gateway = await clientGateway(t)
    const answers: string[] = []
    const given: string[] = []
    for (const client of [{ client: null }, {}]) {
      const { body } = await gateway.send(path, { ...client, ...options })
      const token = /"token":"([^"]+)"/.exec(body.toString())?.[1]
      if (token === undefined) answers.push(body.toString())
      else given.push(...token.split('.'))
    }
    await gateway.lastRequest()
    const output = await outputOf(gateway, answers)
    for (const secret of [canary, encoded(canary), claims, signature, ...given]) {
      t.equal(leak(output, secret), undefined)
    }
  })
}
