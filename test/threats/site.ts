// What every threat is tried on: a running gateway in front of an upstream whose content must not
// leak, with its metrics, its log and raw TLS connections to it.
import { connect, type ConnectionOptions } from 'node:tls'
import tap, { type Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { startTestGateway, type Files, type TestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream, type Fault, type Upstream } from '../helpers/upstream.ts'

/** One row of the table in SECURITY.md: `name` is its first column. */
export function threat(name: string, test: (t: Test) => Promise<void>): void {
  void tap.test(name, { timeout: 90_000 }, test)
}

export const image: SampleContent = await buildSampleImage({ layerBytes: 1_000_000 })
export const pki = await testPki()
/** The largest blob of `image`. */
export const layer = largestOf(image)
export const manifestPath = '/v2/app/manifests/1.0'
export const layerPath = `/v2/app/blobs/${layer.digest}`

export const versions = ['TLSv1.2', 'TLSv1.3'] as const

export interface Pair {
  certificatePem: string
  keyPem: string
}

export interface Site extends TestGateway {
  upstream: Upstream
  /** The sum of a metric over the series that have all of `labels`. */
  metric: (name: string, labels?: Record<string, string>) => Promise<number>
  /** What a raw connection got, as text of bytes, after `text` was sent; or the failure's code. */
  raw: (text: string, options?: RawOptions) => Promise<{ text: string; error?: string }>
  /** The newest audit line. */
  audit: () => Record<string, unknown> | undefined
}

export interface RawOptions {
  client?: Pair | null
  tls?: ConnectionOptions
  /** Lets the connection end by itself: no longer than this, ms. */
  patience?: number
}

export interface SiteOptions {
  /** More of the config. */
  yaml?: string
  clientAuth?: 'none' | 'optional' | 'required'
  files?: Files
  /** More keys of the listener, a line of YAML. */
  listen?: string
  /** More keys of the cache. */
  cache?: string
  /** More keys of the upstream, as in `tagTtl: 0s`. */
  upstreamKeys?: string
  faults?: Fault[]
}

/** Holds `app` and `other/app`, both with `image`, at the upstream `registry.test`, the default. */
export async function startSite(t: Test, options: SiteOptions = {}): Promise<Site> {
  const {
    yaml = '',
    clientAuth = 'optional',
    files = {},
    listen = '',
    cache,
    upstreamKeys,
  } = options
  const upstream = await startUpstream(t, {
    repositories: { app: image, 'other/app': image },
    faults: options.faults ?? [],
  })
  const more = upstreamKeys === undefined ? '' : `, ${upstreamKeys}`
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}'${more} } }
defaultUpstream: registry.test
${yaml}`,
    { clientAuth, files, listen, ...(cache === undefined ? {} : { cache }) },
  )
  return {
    ...gateway,
    upstream,
    metric: async (name, labels = {}) => {
      const answer = await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)
      return sumOf(await answer.text(), name, labels)
    },
    raw: async (text, raw) => converse(gateway.port, text, raw),
    audit: () => gateway.lines.findLast(({ msg }) => msg === 'audit'),
  }
}

/** No byte of the content is in `text`. */
export function nothingLeaked(t: Test, text: string | Buffer): void {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text
  t.notOk(bytes.includes('schemaVersion'), 'no manifest leaked')
  for (let at = 0; at + 64 < layer.bytes.length; at += 50_000) {
    if (bytes.includes(layer.bytes.subarray(at, at + 64))) t.fail('a part of the layer leaked')
  }
}

async function converse(
  port: number,
  text: string,
  { client = pki.client, tls = {}, patience = 10_000 }: RawOptions = {},
): Promise<{ text: string; error?: string }> {
  const pair = client === null ? {} : { cert: client.certificatePem, key: client.keyPem }
  const socket = connect({
    host: '127.0.0.1',
    servername: 'localhost',
    port,
    ca: pki.ca.certificatePem,
    ...pair,
    ...tls,
  })
  const got = { text: '' } as { text: string; error?: string }
  socket.on('secureConnect', () => socket.write(text, 'latin1'))
  socket.on('data', (chunk: Buffer) => (got.text += chunk.toString('latin1')))
  socket.on('error', (error: NodeJS.ErrnoException) => (got.error ??= error.code ?? error.message))
  const timer = setTimeout(() => socket.destroy(new Error('still open')), patience)
  await new Promise((resolve) => void socket.on('close', resolve))
  clearTimeout(timer)
  return got
}

function sumOf(text: string, name: string, labels: Record<string, string>): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => wanted.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

function largestOf({ blobs }: SampleContent): { digest: Digest; bytes: Buffer } {
  const [digest, bytes] = [...blobs].toSorted(([, a], [, b]) => b.length - a.length)[0] ?? []
  if (digest === undefined || bytes === undefined) throw new Error('the image has no blob')
  return { digest, bytes }
}
