// What a gateway fetches after a client has pulled a manifest.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Cache } from '../../src/cache/cache.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { Place } from '../../src/oci/place.ts'
import { createPrefetch } from '../../src/transfer/prefetch.ts'
import { documentOf, sample } from '../helpers/archives.ts'
import { storedIn, until } from '../helpers/cache.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { recordingLog } from '../helpers/listener.ts'
import { gate, on, startUpstream, status, type Fault } from '../helpers/upstream.ts'

async function start(t: Test, prefetch: string, ...faults: Fault[]) {
  const image = await sample('prefetch')
  const upstream = await startUpstream(t, { repositories: { app: image.content }, faults })
  const gateway = await startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}', prefetch: ${prefetch} } }\ndefaultUpstream: up.test`,
  )
  const dir = `${gateway.folder}/cache`
  const stored = () => storedIn(dir)
  const prefetched = () => gateway.lines.filter(({ msg }) => msg === 'prefetched')
  return { image, upstream, gateway, stored, prefetched }
}

/** Config and layers. */
function blobsOf({ content }: Awaited<ReturnType<typeof sample>>, digest: Digest): Digest[] {
  const { config, layers } = documentOf(content, digest) as Record<string, { digest: Digest }[]> & {
    config: { digest: Digest }
    layers: { digest: Digest }[]
  }
  return [config.digest, ...layers.map((layer) => layer.digest)]
}

t.test('platform: the blobs of the manifest that was pulled, each asked for once', async (t) => {
  const { image, upstream, gateway, stored, prefetched } = await start(t, 'platform')
  t.equal((await gateway.send('/v2/app/manifests/1.0')).status, 200)
  t.equal((await gateway.send(`/v2/app/manifests/${image.manifest.digest}`)).status, 200)
  await until(() => prefetched().length === 1)
  const wanted = blobsOf(image, image.manifest.digest)
  await until(() => wanted.every((digest) => stored().includes(digest)))
  t.equal(upstream.count(/GET .*blobs/), wanted.length, 'and nothing for the index')

  for (const digest of wanted) {
    t.equal((await gateway.send(`/v2/app/blobs/${digest}`)).status, 200)
  }
  await gateway.send(`/v2/app/manifests/${image.manifest.digest}`)
  t.equal(upstream.count(/GET .*blobs/), wanted.length)
})

t.test('all: every platform of an index', async (t) => {
  const { image, gateway, stored } = await start(t, 'all')
  await gateway.send('/v2/app/manifests/1.0')
  const { manifests } = documentOf(image.content, image.index) as {
    manifests: { digest: Digest }[]
  }
  t.ok(manifests.length > 1)
  const wanted = manifests.flatMap(({ digest }) => [digest, ...blobsOf(image, digest)])
  await until(() => wanted.every((digest) => stored().includes(digest)))
  t.pass('all of it is there')
})

t.test('none, and whoever only looks: nothing', async (t) => {
  for (const mode of ['none', 'all']) {
    const { image, upstream, gateway } = await start(t, mode)
    const method = mode === 'none' ? 'GET' : 'HEAD'
    await gateway.send(`/v2/app/manifests/${image.manifest.digest}`, { method })
    await gateway.send('/v2/app/manifests/absent')
    await gateway.close()
    t.equal(upstream.count(/blobs/), 0)
  }
})

t.test('a client that asks for the same joins it; what breaks off is tried again', async (t) => {
  const door = gate()
  const { image, upstream, gateway, stored } = await start(t, 'platform', on(/blobs/, door.fault))
  const [config = image.index] = blobsOf(image, image.manifest.digest)
  await gateway.send(`/v2/app/manifests/${image.manifest.digest}`)
  await until(() => upstream.count(/GET .*blobs/) > 0)
  const asked = gateway.send(`/v2/app/blobs/${config}`)
  door.open()
  t.equal((await asked).status, 200)
  t.equal(upstream.count(new RegExp(`GET .*${config}`)), 1)
  await until(() => stored().includes(config))

  const broken = await start(t, 'platform', on(/blobs/, status(403)))
  const path = `/v2/app/manifests/${broken.image.manifest.digest}`
  await broken.gateway.send(path)
  await until(() => broken.gateway.lines.some(({ msg }) => msg === 'prefetch broke off'))
  broken.upstream.fail()
  await broken.gateway.send(path)
  await until(() => broken.prefetched().length === 1)
  t.pass('at the next pull')
})

t.test('offline nobody is asked', async (t) => {
  const { image, upstream, gateway } = await start(t, 'platform')
  const path = `/v2/app/manifests/${image.manifest.digest}`
  await gateway.send(path, { method: 'HEAD' })
  const file = join(gateway.folder, 'gateway.yaml')
  writeFileSync(file, `${readFileSync(file, 'utf8')}\noffline: true\n`)
  t.ok(await gateway.reload())
  t.equal((await gateway.send(path)).status, 200)
  await until(() => gateway.lines.some(({ msg }) => msg === 'prefetch broke off'))
  t.equal(upstream.count(/blobs/), 0)
})

t.test('what is forgotten because too much waits is fetched when it is pulled again', async (t) => {
  const asked: Digest[] = []
  const door = Promise.withResolvers<never>()
  const cache = {
    manifest: async (_place: Place, digest: Digest) => {
      asked.push(digest)
      return asked.length === 1 ? door.promise : Promise.reject(new Error('nothing is there'))
    },
  } as unknown as Cache
  const { log } = recordingLog()
  const { note } = createPrefetch({ cache, modeOf: () => 'platform', log })
  const place = { upstream: 'up.test', repository: 'app' }
  const digests = Array.from({ length: 1002 }, (_, at) => digestOf(String(at)))
  const [first, second] = digests
  for (const digest of digests) note(place, digest)
  t.same(asked, [first], 'one at a time')
  if (second !== undefined) note(place, second)
  door.reject(new Error('nothing is there'))
  await until(() => asked.length === 1001)
  t.equal(asked.at(-1), second)
})
