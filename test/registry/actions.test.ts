// Each action of a rule at the endpoint that it is about, over real TLS.
import { hashSync } from 'bcryptjs'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1000 })
const digest = image.tags.get('1.0') ?? ''
const names = ['b/app', 'a/app', 'c/app']

async function start(t: Test, rules: string) {
  const upstream = await startUpstream(t, {
    repositories: Object.fromEntries(names.map((name) => [name, image])),
  })
  return startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}' }, other.test: { url: '${upstream.url}' } }
defaultUpstream: up.test
auth: { require: any, tokenService: { key: token.key, htpasswd: users } }
policy: { default: deny, rules: [${rules}] }`,
    { files: { users: `alice:${hashSync('secret', 4)}` } },
  )
}

const alice = { authorization: `Basic ${Buffer.from('alice:secret').toString('base64')}` }

for (const action of ['pull', 'list', 'token'] as const) {
  t.test(`a rule with the action ${action} alone`, async (t) => {
    const { send } = await start(t, `{ repositories: up.test/**, actions: [${action}] }`)
    const status = async (path: string) => (await send(path)).status
    const [right, wrong] = [200, 403]
    t.equal(await status('/v2/a/app/manifests/1.0'), action === 'pull' ? right : wrong)
    t.equal(await status(`/v2/a/app/referrers/${digest}`), action === 'pull' ? right : wrong)
    t.equal(await status('/v2/a/app/tags/list'), action === 'list' ? right : wrong)
    const query = '/token?scope=repository:a/app:pull'
    const given = await send(query, { client: null, headers: alice })
    const { token } = JSON.parse(given.body.toString()) as { token: string }
    const access = decodeJwt(token)['access']
    t.same(
      access,
      action === 'token' ? [{ type: 'repository', name: 'a/app', actions: ['pull'] }] : [],
    )
  })
}

t.test('the catalog is sorted, in pages, and of the upstream that is named', async (t) => {
  const { send } = await start(
    t,
    "{ repositories: '**', actions: [pull] }, { repositories: '*/*/app', actions: [list] }",
  )
  const catalog = async (query = '') => {
    const { body, headers } = await send(`/v2/_catalog${query}`)
    return { ...(JSON.parse(body.toString()) as { repositories: string[] }), link: headers.link }
  }
  for (const name of names) await send(`/v2/${name}/manifests/1.0`)
  await send('/v2/a/app/manifests/1.0?ns=other.test')
  const all = ['other.test/a/app', 'up.test/a/app', 'up.test/b/app', 'up.test/c/app']
  t.same((await catalog()).repositories, all)
  t.same((await catalog('?ns=up.test')).repositories, ['a/app', 'b/app', 'c/app'])
  t.same((await catalog('?ns=other.test')).repositories, ['a/app'])
  const paged: string[] = []
  for (let query = '?n=1'; paged.length < 10;) {
    const { repositories, link } = await catalog(query)
    paged.push(...repositories)
    if (link === undefined) break
    query = /<\/v2\/_catalog(.*)>/.exec(String(link))?.[1] ?? ''
  }
  t.same(paged, all)
})

t.test(
  'the catalog without a right to any is empty, and a challenge names its scope',
  async (t) => {
    const { send } = await start(t, '{ repositories: up.test/**, actions: [pull] }')
    await send('/v2/a/app/manifests/1.0')
    t.same(JSON.parse((await send('/v2/_catalog')).body.toString()), { repositories: [] })
    const { headers } = await send('/v2/_catalog', { client: null })
    t.match(headers['www-authenticate'], 'scope="registry:catalog:*"')
  },
)
