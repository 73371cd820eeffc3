// Replicas of which one is several workers: who asks whom, one hop among workers and one among replicas.
import { mkdirSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { startGateway } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { issueCertificate, type Issued } from '../../src/pki/authority.ts'
import { rank } from '../../src/upstream/replicas/ranking.ts'
import { startConfigured, writeConfig } from '../e2e/lab/gateway.ts'
import { freePort } from '../e2e/lab/program.ts'
import type { SendOptions } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { on, startUpstream } from '../helpers/upstream.ts'
import { slowly, until, upstreamName } from './site.ts'

const pki = await testPki()
const replica = await issueCertificate(pki.ca, {
  profile: 'client',
  commonName: 'replica-of-region',
  dnsNames: [],
  ipAddresses: [],
})
const image = await buildSampleImage({ layerBytes: 300_000 })
const contents = [
  ...[...image.manifests.keys()].map((digest) => `manifests/${digest}`),
  ...[...image.blobs.keys()].map((digest) => `blobs/${digest}`),
]
const limit = { timeout: 120_000 }

interface Addresses {
  several: string
  single: string
}

/** The config of one of both, with its files beside it. */
function writeReplica(t: Test, self: keyof Addresses, url: string, all: Addresses, more: object) {
  const file = writeConfig(t, {
    listen: {
      host: '127.0.0.1',
      port: Number(all[self].split(':')[1]),
      tls: { cert: 'server.crt', key: 'server.key', clientAuth: 'required', clientCa: ['ca.crt'] },
    },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url } },
    replicas: {
      list: Object.values(all),
      self: all[self],
      identity: ['replica-*'],
      tls: { ca: 'ca.crt', cert: 'replica.crt', key: 'replica.key' },
    },
    ...more,
  })
  for (const [name, text] of Object.entries({
    'ca.crt': pki.ca.certificatePem,
    'server.crt': pki.server.certificatePem,
    'server.key': pki.server.keyPem,
    'replica.crt': replica.certificatePem,
    'replica.key': replica.keyPem,
  })) {
    writeFileSync(join(file, '..', name), text)
  }
  return file
}

const newAddress = async () => `127.0.0.1:${await freePort()}`

/** Over a connection of its own; by a client, unless told. */
async function pull(
  address: string,
  resource: string,
  {
    client = pki.client,
    headers = {},
    method = 'GET',
  }: Pick<SendOptions, 'headers' | 'method'> & { client?: Issued } = {},
) {
  const { certificatePem: cert, keyPem: key } = client
  const agent = new Agent({ ca: pki.ca.certificatePem, cert, key })
  const path = `/v2/app/${resource}?ns=${upstreamName}`
  const url = new URL(path, `https://${address.replace('127.0.0.1', 'localhost')}`)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request(url, { agent, headers, method }, resolve)
    asked.on('error', reject).on('close', () => agent.destroy())
    asked.end()
  })
  return { status: response.statusCode, digest: digestOf(await buffer(response)) }
}

/** In this process: of the one that is several workers each has a port, the first one that of the replica. */
async function startParts(t: Test) {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const all = { several: await newAddress(), single: await newAddress() }
  const log = pino({ level: 'silent' })
  const single = await loadConfig(writeReplica(t, 'single', upstream.url, all, {}))
  const file = writeReplica(t, 'several', upstream.url, all, {})
  mkdirSync(join(file, '../cache/tmp'), { recursive: true })
  const first = await loadConfig(file)
  const other = { ...first, listen: { ...first.listen, port: 0 } }
  const sockets = ['tmp/one', 'tmp/two']
  const gateways = [
    await startGateway(first, { log, member: { number: 1, sockets } }),
    await startGateway(other, { log, member: { number: 2, sockets } }),
    await startGateway(single, { log }),
  ]
  for (const gateway of gateways) t.teardown(async () => gateway.close(0))
  const entries = {
    first: all.several,
    other: `127.0.0.1:${gateways[1]?.port}`,
    single: all.single,
  }
  return { upstream, all, entries }
}

for (const entry of ['first', 'other', 'single'] as const) {
  t.test(`the way of what is asked of the ${entry} one`, limit, async (t) => {
    const { upstream, all, entries } = await startParts(t)
    for (const resource of contents) {
      const digest = resource.split('/')[1] ?? ''
      const before = upstream.requests.length
      const begin = performance.now()
      t.same(await pull(entries[entry], resource), { status: 200, digest })
      t.ok(performance.now() - begin < 8000, 'nobody waits for another in a circle')
      t.equal(upstream.requests.length, before + 1)

      const isSingles = rank(Object.values(all), digest)[0] === all.single
      const isFirsts = rank(['worker-1', 'worker-2'], digest)[0] === 'worker-1'
      const asksReplica = (entry === 'single') !== isSingles
      const reached = entry === 'other' ? 'other' : 'first'
      const asksWorker = (entry !== 'single' || asksReplica) && (reached === 'first') !== isFirsts
      const via = String(upstream.requests.at(-1)?.headers.via).split(', ')
      t.equal(via.length, 1 + Number(asksWorker) + Number(asksReplica), resource)
      t.equal(new Set(via).size, via.length)
    }
    for (const address of Object.values(entries)) {
      for (const resource of contents) t.equal((await pull(address, resource)).status, 200)
    }
    t.equal(upstream.requests.length, contents.length, 'what one has is not fetched for another')
  })
}

t.test('who is asked by a replica asks no other one, by whichever worker', limit, async (t) => {
  const { upstream, entries } = await startParts(t)
  for (const [index, resource] of contents.entries()) {
    const digest = resource.split('/')[1] ?? ''
    const reached = index % 2 === 0 ? 'first' : 'other'
    const headers = { 'portcullis-replica': '1' }
    const answer = await pull(entries[reached], resource, { client: replica, headers })
    t.same(answer, { status: 200, digest })
    const isFirsts = rank(['worker-1', 'worker-2'], digest)[0] === 'worker-1'
    const via = String(upstream.requests.at(-1)?.headers.via).split(', ')
    t.equal(via.length, (reached === 'first') === isFirsts ? 1 : 2, resource)
  }
  t.equal(upstream.requests.length, contents.length)
})

t.test('who only looks is told of what any worker has or fetches', limit, async (t) => {
  const { upstream, entries } = await startParts(t)
  const headers = { 'portcullis-replica': '2', 'cache-control': 'only-if-cached' }
  const look = async (entry: keyof typeof entries, resource: string, method = 'HEAD') =>
    pull(entries[entry], resource, { client: replica, headers, method })

  for (const resource of contents) {
    const digest = resource.split('/')[1] ?? ''
    const isFirsts = rank(['worker-1', 'worker-2'], digest)[0] === 'worker-1'
    const [owner, other] = isFirsts ? (['first', 'other'] as const) : (['other', 'first'] as const)
    for (const method of ['HEAD', 'GET']) t.equal((await look(other, resource, method)).status, 504)
    t.equal(upstream.count(new RegExp(resource)), 0, 'that makes nothing be fetched')

    const held = Promise.withResolvers<undefined>()
    upstream.fail(
      on(new RegExp(resource), (_req, res) => {
        const end = res.end.bind(res)
        res.end = ((chunk?: Buffer) => {
          void held.promise.then(() => end(chunk))
          return res
        }) as typeof res.end
        return false
      }),
    )
    const pulling = pull(entries[owner], resource)
    await until('it is being fetched', () => upstream.count(new RegExp(resource)) > 0)
    t.equal((await look(other, resource)).status, 200, `${resource} is on its way`)
    const following = look(other, resource, 'GET')
    held.resolve(undefined)
    const right = { status: 200, digest }
    t.same(await Promise.all([pulling, following]), [right, right])
    t.equal((await look(other, resource)).status, 200, 'it is there')
    t.same(await look(other, resource, 'GET'), right)
    t.equal(upstream.count(new RegExp(resource)), 1)
  }
})

t.test('what all are asked for at once is fetched once', limit, async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const all = { several: await newAddress(), single: await newAddress() }
  await startConfigured(t, writeReplica(t, 'single', upstream.url, all, {}))
  const several = await startConfigured(
    t,
    writeReplica(t, 'several', upstream.url, all, { workers: 2 }),
  )
  await several.logged('that all serve', ({ msg }) => msg === 'all workers serve')
  upstream.fail(on(/^GET/, slowly(20)))
  for (const resource of contents) {
    const pulls = Array.from({ length: 5 }, () => Object.values(all)).flat()
    const begin = performance.now()
    const answers = await Promise.all(pulls.map(async (address) => pull(address, resource)))
    t.ok(performance.now() - begin < 8000, 'nobody waits for another in a circle')
    const right = { status: 200, digest: resource.split('/')[1] }
    for (const answer of answers) t.same(answer, right)
    t.equal(upstream.count(new RegExp(`^GET .*${resource}`)), 1, resource)
  }
})
