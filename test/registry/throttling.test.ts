// Who is slowed down by failures, and who is not, over real TLS.
import { hashSync } from 'bcryptjs'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { startTestGateway, type SendOptions } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { createIssuer } from '../helpers/tokens.ts'
import { startUpstream } from '../helpers/upstream.ts'

const pki = await testPki()
const idp = await createIssuer()
const image = await buildSampleImage({ layerBytes: 1000 })
const nodeA = await issueCertificate(pki.ca, { profile: 'client', commonName: 'node-a' })
const nodeB = await issueCertificate(pki.ca, { profile: 'client', commonName: 'node-b' })
const path = '/v2/team/app/manifests/1.0'

async function start(t: Test, require: string) {
  const upstream = await startUpstream(t, { repositories: { 'team/app': image } })
  return startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }
defaultUpstream: registry.test
auth:
  require: ${require}
  tokenService: { key: token.key, htpasswd: users }
  issuers: [{ issuer: '${idp.issuer}', audience: portcullis, jwks: jwks.json }]
policy:
  default: deny
  rules:
    - { who: { cn: node-a } }
    - { who: { issuer: '${idp.issuer}', group: ci } }
`,
    {
      files: {
        'jwks.json': JSON.stringify(idp.jwks),
        users: `alice:${hashSync('secret', 4)}\n`,
      },
    },
  )
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})

t.test('failures of a neighbour refuse nobody who has a good certificate', async (t) => {
  const { send } = await start(t, 'any')
  const own = await send('/token?scope=repository:registry.test/team/app:pull', { client: nodeA })
  const { token } = JSON.parse(own.body.toString()) as { token: string }
  for (const neighbour of [null, nodeB]) {
    const statuses: number[] = []
    for (let i = 0; i < 12; i += 1) {
      const headers = bearer(await idp.sign({ aud: 'elsewhere', jti: String(i) }))
      statuses.push((await send('/v2/', { client: neighbour, headers })).status)
    }
    t.equal(statuses.at(-1), 429)
  }
  t.equal((await send(path, { client: nodeA, headers: bearer(token) })).status, 200)
  t.equal((await send(path, { client: nodeA })).status, 200)
  const fresh = await send('/token?scope=repository:registry.test/team/app:pull', { client: nodeA })
  const { token: another } = JSON.parse(fresh.body.toString()) as { token: string }
  t.equal((await send(path, { client: nodeA, headers: bearer(another) })).status, 200)
})

for (const [require, beside, without] of [
  ['none', 200, 401],
  ['certificate', 200, 403],
  ['any', 200, 401],
  ['token', 401, 401],
  ['all', 401, 401],
] as const) {
  t.test(`a placeholder for a token, with auth.require: ${require}`, async (t) => {
    const { send, lines } = await start(t, require)
    const headers = bearer('QQ==')
    for (let i = 0; i < 15; i += 1) {
      const { status } = await send(path, { client: nodeA, headers })
      if (status !== beside) t.equal(status, i < 10 ? beside : 429)
    }
    if (beside === 200) t.notOk(lines.some(({ audit }) => audit === 'refused'))
    t.equal((await send(path, { client: null, headers })).status, without)
    if (require === 'any') t.equal((await send(path, { client: nodeB, headers })).status, 403)
  })
}

t.test('where certificates alone decide, a wrong token has no effect at all', async (t) => {
  const { send } = await start(t, 'certificate')
  for (let i = 0; i < 15; i += 1) {
    const headers = bearer(await idp.sign({ aud: 'elsewhere', jti: String(i) }))
    t.equal((await send(path, { client: nodeA, headers })).status, 200)
  }
})

t.test('tokens that have expired are no guesses', async (t) => {
  const { send } = await start(t, 'token')
  const past = Math.floor(Date.now() / 1000) - 600
  for (let i = 0; i < 15; i += 1) {
    const headers = bearer(await idp.sign({ exp: past, jti: String(i) }))
    t.equal((await send('/v2/', { client: null, headers })).status, 401)
  }
})

t.test("docker login with another issuer's token", async (t) => {
  const { send } = await start(t, 'token')
  const jwt = await idp.sign({ groups: ['ci'] })
  const login: SendOptions = { client: null, headers: basic('gitlab-ci', jwt) }
  const answer = await send('/token?scope=repository:team/app:pull&offline_token=true', login)
  t.equal(answer.status, 200)
  const { token } = JSON.parse(answer.body.toString()) as { token: string }
  t.equal((await send(path, { client: null, headers: bearer(token) })).status, 200)
  const wrong = { client: null, headers: basic('gitlab-ci', `${jwt.slice(0, -4)}AAAA`) }
  t.equal((await send('/token', wrong)).status, 401)
})
