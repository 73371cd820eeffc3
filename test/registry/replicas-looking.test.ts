// Replicas look at each other for what they lack before they fetch it, and wait for one that is only slow.
import type { ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { rank } from '../../src/upstream/replicas/ranking.ts'
import type { TestGateway } from '../helpers/gateway.ts'
import {
  contentsOf,
  pullApp,
  replicaCertificate,
  startBeside,
  startReplicas,
  startStrangers,
} from '../helpers/replicas.ts'
import { testPki } from '../helpers/tls.ts'
import {
  closeAfter,
  on,
  slowly,
  stallAfter,
  stallBeforeHeaders,
  startUpstream,
  times,
  type Fault,
} from '../helpers/upstream.ts'

const pki = await testPki()
const image = await buildSampleImage({ layerBytes: 400_000 })
const repositories = { app: image }
const limit = { timeout: 90_000 }
const blobs = [...image.blobs].sort(([, one], [, other]) => other.length - one.length)
const [[layer]] = blobs as [[Digest, Buffer]]
const blobPath = (digest: Digest, repository = 'app') =>
  `/v2/${repository}/blobs/${digest}?ns=registry.test`

const looking = { 'portcullis-replica': '2', 'cache-control': 'only-if-cached' }

async function look({ send }: TestGateway, path: string, method = 'HEAD') {
  return send(path, { method, headers: looking, client: replicaCertificate })
}

t.test('what any replica has is fetched by none again', limit, async (t) => {
  const { upstream, gateways, introduce } = await startStrangers(t, 3, { repositories })
  const [first, ...others] = gateways as [TestGateway, ...TestGateway[]]
  await pullApp(first, t)
  await introduce()
  for (const gateway of others) await pullApp(gateway, t)
  for (const digest of contentsOf(image)) {
    const gets = upstream.count(new RegExp(`^GET .*/${digest}`))
    t.ok(gets <= 1, `${digest} was fetched ${gets} times`)
  }
})

t.test('a look makes nothing be fetched, and is no pull', limit, async (t) => {
  const { upstream, gateways } = await startReplicas(t, 2, {
    repositories: { app: image, other: image },
  })
  const [gateway] = gateways as [TestGateway]
  for (const method of ['HEAD', 'GET']) {
    t.equal((await look(gateway, blobPath(layer), method)).status, 504)
  }
  const [manifest] = [...image.manifests.keys()]
  const manifestPath = `/v2/app/manifests/${manifest}?ns=registry.test`
  t.equal((await look(gateway, manifestPath)).status, 504)
  t.equal(upstream.requests.length, 0)
  t.notOk(gateway.lines.some(({ msg }) => msg === 'request'))

  await pullApp(gateway, t)
  await gateway.send(manifestPath)
  t.equal((await look(gateway, manifestPath)).status, 200)
  const there = await look(gateway, blobPath(layer))
  t.match(there, { status: 200, headers: { 'cache-control': undefined } })
  t.equal(digestOf((await look(gateway, blobPath(layer), 'GET')).body), layer)

  const requests = upstream.requests.length
  const elsewhere = await look(gateway, blobPath(layer, 'other'))
  t.match(elsewhere, { status: 200, headers: { 'cache-control': 'no-cache' } })
  t.equal((await look(gateway, blobPath(layer, 'other'), 'GET')).status, 504)
  const others = await look(gateway, manifestPath.replace('app', 'other'))
  t.equal(others.status, 504)
  t.equal(upstream.requests.length, requests)
  const stranger = await gateway.send(blobPath(layer), { headers: looking })
  t.match(stranger, { status: 403, code: 'DENIED' })
})

t.test(
  'what a replica has of another repository needs the word of the upstream',
  limit,
  async (t) => {
    const site = { repositories: { app: image, other: image } }
    const { upstream, gateways, introduce } = await startStrangers(t, 2, site)
    const [first, second] = gateways as [TestGateway, TestGateway]
    await pullApp(first, t)
    await introduce()
    const before = upstream.requests.length
    const pulled = blobs.filter(([digest]) => upstream.count(new RegExp(digest)) > 0)
    t.ok(pulled.length > 4)
    for (const [digest] of pulled) {
      const { body } = await second.send(blobPath(digest, 'other'))
      t.equal(digestOf(body), digest)
    }
    const asked = upstream.requests.slice(before)
    t.equal(asked.filter(({ method }) => method === 'GET').length, 0)
    t.equal(asked.filter(({ method }) => method === 'HEAD').length, pulled.length)
  },
)

t.test('a download from the upstream is followed', limit, async (t) => {
  const { upstream, gateways, addresses, introduce } = await startStrangers(t, 2, {
    repositories,
    faults: [on(/^GET .*blobs/, slowly(100, 1500))],
  })
  const [owner, other] = inOrder(gateways, addresses, layer)
  const early = other.send(blobPath(layer))
  await until(() => upstream.count(/^GET .*blobs/) === 1)
  await introduce()
  const answers = await Promise.all([early, owner.send(blobPath(layer))])
  for (const { body } of answers) t.equal(digestOf(body), layer)
  t.equal(upstream.count(/^GET .*blobs/), 1)
})

t.test('who has begun to fetch goes on by itself, and has no owner begin', limit, async (t) => {
  let response: ServerResponse | undefined
  const note: Fault = (_req, res) => {
    response = res
    return false
  }
  const { upstream, gateways, addresses, introduce } = await startStrangers(t, 2, {
    repositories,
    faults: [on(/^GET .*blobs/, times(1, note, stallAfter(1000)))],
  })
  const [owner, other] = inOrder(gateways, addresses, layer)
  const pull = other.send(blobPath(layer))
  await until(() => response?.headersSent === true)
  await setTimeout(100)
  await introduce()
  response?.destroy()
  t.equal(digestOf((await pull).body), layer)
  t.equal(upstream.count(/^GET .*blobs/), 2)
  t.notOk(owner.lines.some(({ msg }) => msg === 'request'))
})

t.test('who waits for another replica has nothing to be followed', limit, async (t) => {
  const { upstream, gateways, addresses } = await startReplicas(t, 2, {
    repositories,
    faults: [on(/^GET .*blobs/, stallBeforeHeaders())],
  })
  const [owner, other] = inOrder(gateways, addresses, layer)
  const pull = other.open(blobPath(layer)).catch(() => undefined)
  await until(() => upstream.count(/^GET .*blobs/) === 1)
  t.equal((await look(owner, blobPath(layer))).status, 200)
  t.equal((await look(other, blobPath(layer))).status, 504)
  await Promise.all(gateways.map(async ({ close }) => close(0)))
  await pull
})

t.test('a replica that takes seconds for a handshake is not passed over', limit, async (t) => {
  const { upstream, gateways } = await startReplicas(t, 1, { repositories })
  const [busy] = gateways as [TestGateway]
  await pullApp(busy, t)
  const delayed = await listenWith(t, (socket) => {
    const onward = connect(busy.port, '127.0.0.1')
    onward.on('error', () => socket.destroy())
    void setTimeout(2000).then(() => socket.pipe(onward).pipe(socket))
  })
  await pullApp(await startBeside(t, upstream.url, delayed), t)
  for (const digest of contentsOf(image)) {
    t.ok(upstream.count(new RegExp(`^GET .*/${digest}`)) <= 1, digest)
  }
})

t.test('a replica that hangs is waited for once', limit, async (t) => {
  const upstream = await startUpstream(t, { repositories })
  const silent = await listenWith(t, () => undefined)
  const gateway = await startBeside(t, upstream.url, silent)
  const begun = performance.now()
  await pullApp(gateway, t)
  t.ok(performance.now() - begun < 9500, 'two waits would be 10 seconds')
})

t.test(
  'one that stalls with one thing, and answers others, is left for the upstream',
  limit,
  async (t) => {
    const upstream = await startUpstream(t, { repositories })
    const { certificatePem: cert, keyPem: key } = pki.server
    const stalling = await startUpstream(t, {
      repositories,
      tls: { cert, key },
      faults: [on(new RegExp(`^GET .*${layer}`), stallAfter(1000))],
    })
    const gateway = await startBeside(t, upstream.url, Number(new URL(stalling.url).port))
    const pull = gateway.send(blobPath(layer))
    await until(() => stalling.count(new RegExp(layer)) === 1)
    await setTimeout(500)
    for (const [digest] of blobs.slice(1)) {
      t.equal((await gateway.send(blobPath(digest))).status, 200)
    }
    t.equal(digestOf((await pull).body), layer)
    t.equal(stalling.count(new RegExp(layer)), 1)
  },
)

t.test('one that breaks off is asked again within a moment', limit, async (t) => {
  const upstream = await startUpstream(t, { repositories })
  const { certificatePem: cert, keyPem: key } = pki.server
  const breaking = await startUpstream(t, {
    repositories,
    tls: { cert, key },
    faults: [on(new RegExp(`^GET .*${layer}`), closeAfter(1000))],
  })
  const gateway = await startBeside(t, upstream.url, Number(new URL(breaking.url).port))
  t.equal(digestOf((await gateway.send(blobPath(layer))).body), layer)
  await setTimeout(400)
  const [, [other]] = blobs as [unknown, [Digest, Buffer]]
  t.equal(digestOf((await gateway.send(blobPath(other))).body), other)
  t.equal(breaking.count(new RegExp(other)), 1)
  t.equal(upstream.count(new RegExp(other)), 0)
})

/** The owner of the content, and the other one. */
function inOrder(
  gateways: readonly TestGateway[],
  addresses: readonly string[],
  digest: Digest,
): [TestGateway, TestGateway] {
  const order = rank(addresses, digest).map((address) => gateways[addresses.indexOf(address)])
  return order as [TestGateway, TestGateway]
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setTimeout(20)
}

/** A server that does `serve` with each connection, closed with the test: its port. */
async function listenWith(t: Test, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}
