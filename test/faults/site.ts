// What every fault is tried on, a running gateway in front of an upstream, and what must be true of
// it after each of them.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import tap, { type Test } from 'tap'
import { startGateway, type Gateway } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { largest, storedIn, until } from '../helpers/cache.ts'
import { startTestGateway, type Files, type TestGateway } from '../helpers/gateway.ts'
import { heldBytes } from '../helpers/heap.ts'
import { countDescriptors } from '../helpers/limits.ts'
import { recordingLog } from '../helpers/listener.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream, type Fault, type Upstream } from '../helpers/upstream.ts'

export const image: SampleContent = await buildSampleImage({ layerBytes: 2_000_000 })
const [layerDigest, layerBytes] = largest(image)
export const layer = { digest: layerDigest, bytes: layerBytes }
export const manifestPath = '/v2/app/manifests/latest'
export const layerPath = blobPath(layerDigest)
/** Another one, of a few hundred bytes. */
export const smallPath = blobPath(smallest(image))

export interface Site extends TestGateway {
  upstream: Upstream
  dir: string
  /** A blob of the upstream: whether the answer was whole, and what it hashes to. */
  pull: (path: string) => Promise<Pulled>
  /** Where it asks at first, unless that is the upstream. */
  away: string
  /** Asks the upstream at another address from now on. */
  moveTo: (url: string) => Promise<void>
  /** Ends the gateway, and starts another one on what is there. */
  restart: () => Promise<void>
  /** Removes the fault; what the shared checks begin with. */
  heal: () => unknown
}

export interface Pulled {
  status: number
  bytes: number
  /** As far as its client can tell. */
  isWhole: boolean
  digest: string
}

export interface FaultOptions {
  faults?: Fault[]
  /** The address that is asked over TLS at first, instead of the upstream's. */
  url?: (t: Test) => Promise<string>
  files?: Files
  skip?: string
}

/** One row: what happens, after which the site is healed and everything must be as it should. */
export function fault(
  name: string,
  act: (t: Test, site: Site) => Promise<void>,
  options: FaultOptions = {},
): void {
  const { skip, url, ...siteOptions } = options
  const extra = { timeout: 90_000, ...(skip === undefined ? {} : { skip }) }
  void tap.test(name, extra, async (t) => {
    const away = await url?.(t)
    const before = await baseline(t)
    const site = await startSite(t, { ...siteOptions, away })
    await act(t, site)
    await site.heal()
    await holds(t, site, before)
  })
}

/** What must be true after every fault, once it is gone. Closes the gateway and the upstream. */
async function holds(t: Test, site: Site, before: Resources): Promise<void> {
  const { dir, upstream } = site
  t.equal((await site.send(manifestPath)).status, 200, 'the next request works')
  await pullsAll(t, site)
  await until(() => storedIn(dir).includes(layer.digest), 'the layer is stored')
  t.equal(await site.close(10_000), 0, 'no transfer is left')
  await upstream.close()
  await until(() => countDescriptors() <= before.descriptors, 'as many descriptors as before')
  await until(() => heldBytes() <= before.memory + slack, 'as much memory as before')
  t.doesNotThrow(() => storedIn(dir), 'every blob hashes to its name')

  await site.restart()
  t.same(readdirSync(join(dir, 'tmp')), [], 'nothing half-written is left after a start')
  await pullsAll(t, site)
}

async function pullsAll(t: Test, site: Site): Promise<void> {
  for (const [digest, { length }] of image.blobs) {
    const expected = { status: 200, bytes: length, isWhole: true, digest }
    t.same(await site.pull(blobPath(digest)), expected, 'every blob is right')
  }
  for (const [digest, { bytes }] of image.manifests) {
    const answer = await site.send(`/v2/app/manifests/${digest}`)
    t.ok(answer.body.equals(bytes), 'every manifest is right')
  }
}

interface SiteOptions extends Omit<FaultOptions, 'url' | 'skip'> {
  away?: string | undefined
}

async function startSite(t: Test, { faults = [], away, files = {} }: SiteOptions = {}) {
  const { certificatePem: cert, keyPem: key } = (await testPki()).server
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults,
    ...(away === undefined ? {} : { tls: { cert, key } }),
  })
  const right = upstream.url.replace('127.0.0.1', 'localhost')
  const tls = away === undefined ? '' : ', tls: { ca: ca.crt }'
  const gateway = await startTestGateway(
    t,
    `upstreams:
  registry.test:
    { url: '${away ?? right}', ${patience}${tls} }
defaultUpstream: registry.test
`,
    { files },
  )
  const file = join(gateway.folder, 'gateway.yaml')
  const moveTo = async (to: string) => {
    writeFileSync(file, readFileSync(file, 'utf8').replace(/url: '[^']*'/, `url: '${to}'`))
    t.equal(await running.reload(), true)
  }
  let running: Gateway = gateway
  const open: Site['open'] = async (path, sent) =>
    gateway.open(path, { port: running.port, ...sent })
  const site: Site = {
    ...gateway,
    open,
    send: async (path, sent) => gateway.send(path, { port: running.port, ...sent }),
    reload: async () => running.reload(),
    close: async (grace) => running.close(grace),
    async restart() {
      await running.close(10_000)
      const { log } = recordingLog()
      running = await startGateway(await loadConfig(file), { log })
      const { close } = running
      t.teardown(async () => close(0))
    },
    upstream,
    away: away ?? right,
    dir: join(gateway.folder, 'cache'),
    pull: async (path) => pulled(await open(path)),
    moveTo,
    heal: async () => {
      upstream.fail()
      if (away !== undefined) await moveTo(right)
    },
  }
  return site
}

/** Short enough for a test, and long enough for a machine that is busy. */
const patience = 'connectTimeout: 1s, headersTimeout: 1s, stallTimeout: 1s'

async function pulled(response: IncomingMessage): Promise<Pulled> {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      hash.update(chunk)
      bytes += chunk.length
    }
  } catch {
    // It broke off: `complete` says so.
  }
  return {
    status: response.statusCode ?? 0,
    bytes,
    isWhole: response.complete,
    digest: `sha256:${hash.digest('hex')}`,
  }
}

let isWarm = false

/** Of this process. */
interface Resources {
  descriptors: number
  /** Bytes. */
  memory: number
}

/** What the closed gateways of a row keep, which its test still knows, and modules that were loaded for it, bytes. */
const slack = 24 * 2 ** 20

/** What is held before a row: what is held once for a process is there. */
async function baseline(t: Test): Promise<Resources> {
  if (!isWarm) {
    const site = await startSite(t)
    await site.pull(layerPath)
    await site.close(10_000)
    await site.upstream.close()
  }
  isWarm = true
  return { descriptors: countDescriptors(), memory: heldBytes() }
}

function blobPath(digest: Digest): string {
  return `/v2/app/blobs/${digest}`
}

function smallest({ blobs }: SampleContent): Digest {
  const [found] = [...blobs].toSorted(([, a], [, b]) => a.length - b.length)
  if (found === undefined) throw new Error('the image has no blob')
  return found[0]
}
