// A gateway that is asked by another one: a site, a region, and the registries behind it.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { largest } from '../helpers/cache.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import * as faults from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1_500_000 })
const [layer, bytes] = largest(image)

/** How a gateway of these tests is asked by another: by mutual TLS, with the one pair. */
const tls = 'tls: { ca: ca.crt, cert: site.crt, key: site.key }'

async function filesOfSite() {
  const { client } = await testPki()
  return { 'site.crt': client.certificatePem, 'site.key': client.keyPem }
}

/** A region before two registries, and a site that has nothing but the region. */
async function start(t: Test, keysOfSite = '') {
  const first = await faults.startUpstream(t, { repositories: { 'team/app': image } })
  const second = await faults.startUpstream(t, { repositories: { 'library/app': image } })
  const region = await startTestGateway(
    t,
    `upstreams:
  first.test: { url: '${first.url}', tagTtl: 0s }
  docker.io: { url: '${second.url}' }
`,
    { clientAuth: 'required' },
  )
  const keys = `url: '${region.url}', gateway: true, ${tls} ${keysOfSite}`
  const site = await startTestGateway(
    t,
    `upstreams: { first.test: { ${keys} }, docker.io: { ${keys} } }`,
    {
      files: await filesOfSite(),
    },
  )
  return { first, second, region, site }
}

t.test(
  'one region serves a site for all its upstreams, over one pair of certificates',
  async (t) => {
    const { first, second, region, site } = await start(t)
    const manifest = await site.send('/v2/team/app/manifests/latest?ns=first.test')
    t.equal(manifest.status, 200)
    t.equal(digestOf(manifest.body), image.tags.get('latest'))
    const blob = await site.send(`/v2/team/app/blobs/${layer}?ns=first.test`)
    t.ok(blob.body.equals(bytes))
    t.equal((await site.send('/v2/app/manifests/latest?ns=docker.io')).status, 200)
    t.same([first.count(/blobs/), second.count(/^GET .*library\/app\/manifests/)], [1, 1])
    t.match(
      region.lines.findLast(({ msg }) => msg === 'request'),
      { upstream: 'docker.io' },
    )

    const page = await site.send('/v2/team/app/tags/list?ns=first.test')
    t.same(JSON.parse(page.body.toString()).tags, ['1.0', 'latest'])
    t.match(await site.send('/v2/team/none/manifests/latest?ns=first.test'), {
      status: 404,
      code: 'MANIFEST_UNKNOWN',
    })
  },
)

t.test('the region is away: the site goes to the registry itself', async (t) => {
  const direct = await faults.startUpstream(t, { repositories: { 'team/app': image } })
  const { region, site } = await start(t, `, endpoints: [{ url: '${direct.url}' }]`)
  t.equal((await site.send('/v2/team/app/manifests/latest?ns=first.test')).status, 200)
  t.equal(direct.requests.length, 0)
  await region.close(0)
  const blob = await site.send(`/v2/team/app/blobs/${layer}?ns=first.test`)
  t.ok(blob.body.equals(bytes))
  t.notMatch(direct.requests.at(-1)?.url, /ns=/, 'a registry is not asked for a namespace')
})

t.test('what the region holds is served at the site while the registry is away', async (t) => {
  const { first, site, region } = await start(t)
  const path = '/v2/team/app/manifests/latest?ns=first.test'
  await region.send(path)
  first.fail(faults.status(503))
  t.equal((await site.send(path)).status, 200)
})

/** Lets the upstream of `gateway` be `url`. */
async function point(gateway: TestGateway, url: string): Promise<void> {
  const file = join(gateway.folder, 'gateway.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace('https://localhost:1', url))
  await gateway.reload()
}

t.test('two gateways that ask each other: refused, by both and at once', async (t) => {
  const files = await filesOfSite()
  const upstreams = (url: string) =>
    `upstreams: { first.test: { url: '${url}', gateway: true, ${tls} } }`
  const one = await startTestGateway(t, upstreams('https://localhost:1'), { files })
  const other = await startTestGateway(t, upstreams(one.url), { files })
  await point(one, other.url)
  for (const path of ['manifests/latest', `blobs/${layer}`]) {
    t.match(await one.send(`/v2/team/app/${path}?ns=first.test`), {
      status: 508,
      code: 'LOOP_DETECTED',
    })
  }
  const asked = other.lines.filter(({ msg }) => msg === 'request')
  t.equal(asked.length, 2, 'each was asked once')
})

t.test('a gateway that asks itself', async (t) => {
  const one = await startTestGateway(
    t,
    `upstreams: { first.test: { url: 'https://localhost:1', gateway: true, ${tls} } }`,
    { files: await filesOfSite() },
  )
  await point(one, one.url)
  const answer = await one.send('/v2/team/app/manifests/latest?ns=first.test')
  t.match(answer, { status: 508, code: 'LOOP_DETECTED' })
  t.match(answer.body.toString(), /leads back/)
})
