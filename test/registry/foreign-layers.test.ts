// Foreign layers: what the registry does not hold and a manifest has addresses of, over real TLS.
import t, { type Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { tokenAuth } from '../helpers/token-auth.ts'
import {
  flipByte,
  on,
  startUpstream,
  status,
  type Fault,
  type Upstream,
} from '../helpers/upstream.ts'

const pki = await testPki()
const server = {
  cert: pki.server.certificatePem,
  key: pki.server.keyPem,
  ca: pki.ca.certificatePem,
  requestCert: true,
  rejectUnauthorized: false,
}
const layer = Buffer.alloc(300_000, 'a foreign layer ')
const digest = digestOf(layer)
const sample = await buildSampleImage({ layerBytes: 100_000 })
const [own] = sample.blobs.keys()

const dockerType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
const ociType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'

/** An image of Windows: its base layer is elsewhere. */
function imageAt(urls: unknown, mediaType = dockerType): SampleContent {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', digest: own, size: 1 },
      layers: [{ mediaType, digest, size: layer.length, urls }],
    }),
  )
  const type = 'application/vnd.docker.distribution.manifest.v2+json'
  const manifest = digestOf(bytes)
  return {
    blobs: sample.blobs,
    manifests: new Map([[manifest, { mediaType: type, bytes }]]),
    tags: new Map([['v1', manifest]]),
  }
}

const holding: SampleContent = {
  blobs: new Map([[digest, layer]]),
  manifests: new Map(),
  tags: new Map(),
}

async function startDownloads(
  t: Test,
  ...faults: Fault[]
): Promise<{ cdn: Upstream; url: string }> {
  const cdn = await startUpstream(t, { repositories: { files: holding }, tls: server, faults })
  return { cdn, url: `https://localhost:${cdn.port}/v2/files/blobs/${digest}` }
}

interface Site {
  /** By repository. */
  images: Record<string, SampleContent>
  /** Further keys of the upstream. */
  keys: string
  faults?: Fault[]
}

/** A gateway in front of a registry that knows it by certificate and password. */
async function start(t: Test, { images, keys, faults = [] }: Site) {
  const tokens = tokenAuth()
  const registry = await startUpstream(t, {
    repositories: images,
    tls: server,
    faults: [...faults, tokens.fault],
  })
  const gateway = await startTestGateway(
    t,
    `upstreams:
  registry.test:
    url: https://localhost:${registry.port}
    tls: { ca: ca.crt, cert: up.crt, key: up.key }
    ${keys}
defaultUpstream: registry.test
`,
    { files: { 'up.crt': pki.client.certificatePem, 'up.key': pki.client.keyPem } },
  )
  const pull = async (repository: string, method = 'GET') => {
    await gateway.send(`/v2/${repository}/manifests/v1`)
    return gateway.send(`/v2/${repository}/blobs/${digest}`, { method })
  }
  return { registry, gateway, pull }
}

const fetching = ({ port }: Upstream) =>
  `foreignLayers: fetch\n    redirects: ['localhost:${port}']`

const messageIn = ({ body }: { body: Buffer }) => body.toString()

for (const type of [dockerType, ociType]) {
  t.test(`fetched as a stranger, verified, kept: ${type}`, async (t) => {
    const { cdn, url } = await startDownloads(t)
    const images = { win: imageAt(['https://elsewhere.example/x', url], type) }
    const keys = `{ foreignLayers: fetch, redirects: ['localhost:${cdn.port}'] }`.slice(2, -2)
    const { registry, gateway, pull } = await start(t, {
      images,
      keys: keys.replace(', r', '\n    r'),
    })
    const before = await gateway.send(`/v2/win/blobs/${digest}`)
    t.match(before, { status: 404, code: 'BLOB_UNKNOWN' }, 'no manifest names it so far')
    const answer = await pull('win')
    t.equal(answer.status, 200)
    t.ok(answer.body.equals(layer))
    t.match(registry.requests.at(-1), { peerSubject: 'CN=client' }, 'the registry was asked first')
    t.equal(cdn.requests.length, 1)
    const [request] = cdn.requests
    t.equal(request?.headers.authorization, undefined)
    t.equal(request?.peerSubject, undefined)
    t.ok((await pull('win')).body.equals(layer))
    t.match(await pull('win', 'HEAD'), { status: 200, headers: { 'content-length': '300000' } })
    t.equal(cdn.requests.length, 1, 'the cache has it')
  })
}

t.test('hosts that are written are enough; those of well-known registries are not', async (t) => {
  const { cdn, url } = await startDownloads(t)
  const images = { win: imageAt([url]) }
  const { pull } = await start(t, { images, keys: `redirects: ['localhost:${cdn.port}']` })
  t.equal((await pull('win')).status, 200)
  const unset = await start(t, { images, keys: 'tagTtl: 1m' })
  t.match(await unset.pull('win'), { status: 404, code: 'BLOB_UNKNOWN' })
})

t.test('refused: 404 that names the key and the host', async (t) => {
  const { cdn, url } = await startDownloads(t)
  const keys = fetching(cdn).replace('fetch', 'refuse')
  const { pull } = await start(t, { images: { win: imageAt([url]) }, keys })
  const answer = await pull('win')
  t.match(answer, { status: 404, code: 'BLOB_UNKNOWN' })
  t.match(messageIn(answer), /upstreams\.registry\.test\.foreignLayers .*localhost/)
  t.equal((await pull('win', 'HEAD')).status, 404)
  t.equal(cdn.requests.length, 0)
})

/** By repository: `win0`, `win1` ... */
function numbered(images: SampleContent[]): Record<string, SampleContent> {
  return Object.fromEntries(images.map((image, position) => [`win${position}`, image]))
}

t.test('nobody is asked but hosts that are allowed', async (t) => {
  const { cdn, url } = await startDownloads(t)
  const addresses: [url: string, told: RegExp][] = [
    [url.replace('localhost', '127.0.0.1'), /add it to upstreams\.registry\.test\.redirects/],
    [url.replace('https', 'http'), /must be https/],
    [url.replace('//', '//user:secret@'), /must be https, without credentials/],
    ['file:///etc/passwd', /must be https/],
    ['no address', /must be https/],
  ]
  const images = numbered(addresses.map(([address]) => imageAt([address])))
  const { pull } = await start(t, { images, keys: fetching(cdn) })
  for (const [position, [address, told]] of addresses.entries()) {
    const answer = await pull(`win${position}`)
    t.match(answer, { status: 502, code: 'UPSTREAM_FAILED' }, address)
    t.match(messageIn(answer), told)
  }
  t.equal(cdn.requests.length, 0)
})

t.test('not the registry itself either, unless it is allowed', async (t) => {
  const { cdn } = await startDownloads(t)
  const images: Record<string, SampleContent> = {}
  const { registry, pull } = await start(t, { images, keys: fetching(cdn) })
  images['win'] = imageAt([`https://localhost:${registry.port}/v2/secret/blobs/${digest}`])
  t.equal((await pull('win')).status, 502)
  t.equal(registry.count(/secret/), 0)
})

t.test('addresses that are none', async (t) => {
  const { cdn } = await startDownloads(t)
  const images = numbered([[], null, 'https://localhost', [7, {}]].map((urls) => imageAt(urls)))
  const { pull } = await start(t, { images, keys: fetching(cdn) })
  for (const name of Object.keys(images)) {
    t.match(await pull(name), { status: 404, code: 'BLOB_UNKNOWN' })
  }
})

t.test('one address after the other, until one has it', async (t) => {
  const { cdn, url } = await startDownloads(t, on(/gone/, status(404)), on(/shut/, status(403)))
  const urls = [url.replace('files', 'gone'), url.replace('files', 'shut'), url]
  const { pull } = await start(t, { images: { win: imageAt(urls) }, keys: fetching(cdn) })
  t.equal((await pull('win')).status, 200)
  t.equal(cdn.requests.length, 3)
})

t.test('a challenge there is not answered', async (t) => {
  const tokens = tokenAuth()
  const { cdn, url } = await startDownloads(t, tokens.fault)
  const { pull } = await start(t, { images: { win: imageAt([url]) }, keys: fetching(cdn) })
  t.match(await pull('win'), { status: 502 })
  t.equal(cdn.count(/token/), 0)
})

t.test('bytes that do not hash right are not given as complete', async (t) => {
  const { cdn, url } = await startDownloads(t, flipByte(1000))
  const { pull } = await start(t, { images: { win: imageAt([url]) }, keys: fetching(cdn) })
  await t.rejects(pull('win'), 'the body is cut')
  cdn.fail()
  t.ok((await pull('win')).body.equals(layer), 'nothing wrong was kept')
})

t.test('an address proves nothing of what others of the same registry hold', async (t) => {
  const cdn = await startUpstream(t, {
    repositories: {},
    tls: server,
    faults: [on(/^HEAD/, status(200, { 'content-length': String(layer.length) }))],
  })
  const url = `https://localhost:${cdn.port}/v2/files/blobs/${digest}`
  const secret: SampleContent = {
    ...imageAt([]),
    blobs: new Map([...sample.blobs, [digest, layer]]),
  }
  const images = { secret, evil: imageAt([url]) }
  const { pull } = await start(t, { images, keys: fetching(cdn) })
  t.equal((await pull('secret')).status, 200, 'the cache has it now')
  t.equal((await pull('evil')).status, 404)
  t.ok(cdn.count(/^GET/) > 0)
})
