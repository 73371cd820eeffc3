// Pulls an image as a container engine does, and checks every digest on the way.
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import { hasherFor, isDigest, type Digest } from '../oci/digest.ts'
import { manifestAccept } from '../oci/media-type.ts'

/** One request of a pull. */
export interface PullStep {
  /** Such as `HEAD manifests/1.0`. */
  request: string
  status: number
  bytes: number
  /** Milliseconds to the last byte. */
  ms: number
}

export interface PullerOptions {
  /** `https://host:port` of the gateway. */
  url: string
  node: { cert: string; key: string; ca: string }
  upstream: string
  repository: string
  tag: string
  /** Hears of each step when it is over. */
  onStep: (step: PullStep) => void
}

interface Manifest {
  manifests?: { digest: string; platform?: { architecture: string } }[]
  config?: { digest: string }
  layers?: { digest: string }[]
}

/** Throws an Error where a status is not 200 or bytes do not hash to their digest. */
export async function pullImage(options: PullerOptions): Promise<void> {
  const agent = new Agent({ ...options.node, keepAlive: true, maxSockets: 1 })
  const get = (resource: string, method = 'GET') => step(options, agent, resource, method)
  try {
    await get('', 'HEAD')
    const digest = (await get(`manifests/${options.tag}`, 'HEAD')).digest ?? ''
    const index = await manifest(get, digest)
    const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
    const own = index.manifests?.find(({ platform }) => platform?.architecture === architecture)
    const image = await manifest(get, own?.digest ?? '')
    for (const { digest } of [image.config, ...(image.layers ?? [])].filter((part) => !!part)) {
      await get(`blobs/${digest}`)
    }
  } finally {
    agent.destroy()
  }
}

type Get = (resource: string) => Promise<{ body: string }>

async function manifest(get: Get, digest: string): Promise<Manifest> {
  return JSON.parse((await get(`manifests/${digest}`)).body) as Manifest
}

async function step(
  { url, upstream, repository, onStep }: PullerOptions,
  agent: Agent,
  resource: string,
  method: string,
): Promise<{ body: string; digest: string | undefined }> {
  const path = resource === '' ? '' : `${repository}/${resource}`
  const started = performance.now()
  const response = await send(agent, `${url}/v2/${path}?ns=${upstream}`, method)
  const { body, bytes } = await read(response, digestIn(resource))
  const status = response.statusCode ?? 0
  const ms = performance.now() - started
  onStep({ request: `${method} ${shorten(resource)}`, status, bytes, ms })
  if (status !== 200) {
    throw new Error(`${method} ${resource || '/v2/'} was answered ${status}: ${body}`)
  }
  return { body, digest: response.headers['docker-content-digest'] as string | undefined }
}

function send(agent: Agent, url: string, method: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(url, { agent, method, headers: { accept: manifestAccept } }, resolve)
      .on('error', reject)
      .end()
  })
}

/** The text of a manifest, or nothing of a blob; both hashed where the digest is known. */
async function read(
  response: IncomingMessage,
  digest: Digest | undefined,
): Promise<{ body: string; bytes: number }> {
  const small = response.headers['content-type']?.includes('json') === true
  if (digest === undefined) {
    const body = await text(response)
    return { body, bytes: Buffer.byteLength(body) }
  }
  const hash = hasherFor(digest)
  const kept: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    if (small) kept.push(chunk)
  }
  const matches = digest.endsWith(`:${hash.digest('hex')}`)
  if (response.statusCode === 200 && !matches) throw new Error(`wrong bytes came for ${digest}`)
  return { body: Buffer.concat(kept).toString(), bytes }
}

function digestIn(resource: string): Digest | undefined {
  const last = resource.split('/').at(-1) ?? ''
  return isDigest(last) ? last : undefined
}

/** Digests are recognised by their first digits. */
function shorten(resource: string): string {
  return resource === '' ? '/v2/' : resource.replace(/(sha\d+:[0-9a-f]{12})[0-9a-f]+/, '$1…')
}
