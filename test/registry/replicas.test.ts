// Three gateways that share the work: one asks the upstream for each thing, whoever is asked for it.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'
import {
  contentsOf,
  pullApp,
  replicaCertificate,
  startBeside,
  startReplicas,
} from '../helpers/replicas.ts'
import { testPki } from '../helpers/tls.ts'
import { flipByte, on, slowly, startUpstream } from '../helpers/upstream.ts'

const pki = await testPki()
const image = await buildSampleImage({ layerBytes: 400_000 })
const limit = { timeout: 90_000 }
const repositories = { app: image }

t.test('one GET for each digest, however many ask and of whom', limit, async (t) => {
  const { upstream, gateways } = await startReplicas(t, 3, { repositories })
  const pullers = Array.from({ length: 9 }, (_, index) => gateways[index % 3] as TestGateway)
  await Promise.all(pullers.map(async (gateway) => pullApp(gateway, t)))
  for (const digest of contentsOf(image)) {
    const gets = upstream.count(new RegExp(`^GET .*/${digest}`))
    t.ok(gets <= 1, `${digest} was fetched ${gets} times`)
  }
  t.equal(upstream.count(/^GET .*manifests\/latest/), 1)
  const through = gateways.flatMap(({ lines }) =>
    lines.filter(({ msg, identity }) => msg === 'request' && /replica-of/.test(String(identity))),
  )
  t.ok(through.length > 0, 'replicas have asked each other')
})

t.test('a policy is applied where the client asks, and not again', limit, async (t) => {
  const policy = "policy: { default: deny, rules: [{ who: { cn: client }, repositories: '**' }] }"
  const { upstream, gateways } = await startReplicas(t, 3, { repositories, more: policy })
  for (const gateway of gateways) await pullApp(gateway, t)
  t.equal(upstream.count(/^GET .*manifests\/latest/), 1)
  const [gateway] = gateways as [TestGateway]
  const denied = await gateway.send('/v2/app/manifests/latest?ns=registry.test', { client: null })
  t.equal(denied.status, 403)
})

t.test('who is no replica is refused as one, told and counted', limit, async (t) => {
  const { gateways, upstream } = await startReplicas(t, 2, { repositories })
  const [gateway] = gateways as [TestGateway]
  for (const client of [pki.client, null]) {
    const answer = await gateway.send('/v2/app/manifests/latest?ns=registry.test', {
      headers: { 'portcullis-replica': '1' },
      client,
    })
    t.match(answer, { status: 403, code: 'DENIED' })
  }
  const told = gateway.lines.filter(
    ({ audit, reason }) => audit === 'refused' && reason === 'no_replica',
  )
  t.equal(told.length, 2)
  const metrics = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text()
  t.match(metrics, /portcullis_refused_callers_total\{reason="no_replica"\} 2/)
  const odd = await gateway.send('/v2/app/manifests/latest?ns=registry.test', {
    headers: { 'portcullis-replica': '3' },
    client: replicaCertificate,
  })
  t.equal(odd.status, 400)
  t.equal(upstream.requests.length, 0)
})

t.test('names of replicas are read as a policy reads them', limit, async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }
replicas: { identity: ['spiffe://site/replica/*', '*.replicas.test'] }`,
  )
  const id = 'spiffe://site/replica/1'
  const cases: [
    name: string,
    names: Partial<Parameters<typeof issueCertificate>[1]>,
    status: number,
  ][] = [
    ['its URI', { uris: [id] }, 200],
    ['its DNS name', { dnsNames: ['A.Replicas.test'] }, 200],
    ['its common name', { commonName: 'a.replicas.test' }, 200],
    ['a common name that looks like a URI', { commonName: id }, 403],
    ['a second URI', { uris: [id, 'spiffe://site/other'] }, 403],
    ['more below the URI', { uris: [`${id}/more`] }, 403],
    ['more labels', { dnsNames: ['a.b.replicas.test'] }, 403],
  ]
  for (const [name, names, status] of cases) {
    const client = await issueCertificate(pki.ca, {
      profile: 'client',
      commonName: 'somebody',
      dnsNames: [],
      ipAddresses: [],
      ...names,
    })
    const headers = { 'portcullis-replica': '1' }
    const path = '/v2/app/manifests/latest?ns=registry.test'
    t.equal((await gateway.send(path, { headers, client })).status, status, name)
  }
})

t.test('owners that are dead cost no pull', limit, async (t) => {
  const { gateways } = await startReplicas(t, 3, { repositories })
  const [first, ...others] = gateways as [TestGateway, ...TestGateway[]]
  await Promise.all(others.map(async ({ close }) => close(0)))
  await pullApp(first, t)
})

t.test('an owner that dies in the middle of a body costs no pull', limit, async (t) => {
  const { gateways } = await startReplicas(t, 3, {
    repositories,
    faults: [on(/^GET .*blobs/, slowly())],
  })
  const [first, second, third] = gateways as [TestGateway, TestGateway, TestGateway]
  const pulls = [pullApp(first, t), pullApp(second, t)]
  await setTimeout(200)
  await third.close(0)
  await Promise.all(pulls)
})

t.test(
  'a replica that lacks the upstream, or does not take the certificate, is passed by',
  limit,
  async (t) => {
    const { gateways, upstream } = await startReplicas(t, 2, { repositories })
    const [first, second] = gateways as [TestGateway, TestGateway]
    const file = join(second.folder, 'gateway.yaml')
    const config = readFileSync(file, 'utf8')
    writeFileSync(file, config.replaceAll('registry.test', 'another.test'))
    t.equal(await second.reload(), true)
    await pullApp(first, t)
    writeFileSync(file, config.replace('[replica-*]', '[nobody]'))
    t.equal(await second.reload(), true)
    await pullApp(await startBeside(t, upstream.url, second.port), t)
  },
)

t.test('one that ends is not ready first, and serves meanwhile', limit, async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }\n`,
    { listen: 'leaveDelay: 3s' },
  )
  const ready = async () => fetch(`http://127.0.0.1:${gateway.adminPort}/readyz`)
  t.equal((await ready()).status, 200)
  const closed = gateway.close()
  const answer = await ready()
  t.equal(answer.status, 503)
  t.match(await answer.text(), /the gateway is ending/)
  await pullApp(gateway, t)
  t.equal(await closed, 0)
})

t.test('a replica that sends other content is passed by the next time', limit, async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const { certificatePem: cert, keyPem: key } = pki.server
  const wrong = await startUpstream(t, {
    repositories: { app: image },
    tls: { cert, key },
    faults: [on(/^GET .*blobs/, flipByte(10))],
  })
  const gateway = await startBeside(t, upstream.url, Number(new URL(wrong.url).port))
  const [blob] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [Digest, Buffer]
  const path = `/v2/app/blobs/${blob}?ns=registry.test`
  await gateway.send('/v2/app/manifests/latest?ns=registry.test')
  await gateway.send(path).catch(() => undefined)
  t.ok(wrong.count(/^GET .*blobs/) > 0, 'the replica was asked')
  const again = await gateway.send(path)
  t.equal(again.status, 200)
  t.equal(digestOf(again.body), blob)
})
