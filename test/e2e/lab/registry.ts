// docker-registry, and the pushes that fill it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { SampleContent } from '../../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { subfolder } from './folder.ts'
import { freePort, startProgram } from './program.ts'

export interface DockerRegistry {
  /** `host:port`; plain HTTP. */
  address: string
  /** Pushes everything in `content` to the repository `name`. */
  push: (name: string, content: SampleContent) => Promise<void>
}

export interface RegistryOptions {
  /** `host:port`; any free port of 127.0.0.1 unless told. */
  at?: string
  /** Debian's docker-registry unless told; distribution 3 reads the same config. */
  program?: string
  /** The section `auth` of its config: nobody has to log in without. */
  auth?: Record<string, unknown>
}

/** Starts docker-registry with its content below `folder`, which several may share. */
export async function startDockerRegistry(
  t: Pick<Test, 'teardown'>,
  folder: string,
  { at, program = 'docker-registry', auth }: RegistryOptions = {},
): Promise<DockerRegistry> {
  const address = at ?? `127.0.0.1:${await freePort()}`
  const url = `http://${address}`
  const file = join(folder, `registry-${address.split(':')[1]}.json`)
  const config = {
    version: '0.1',
    log: { level: 'warn' },
    storage: { filesystem: { rootdirectory: subfolder(folder, 'registry') } },
    http: { addr: address },
    compatibility: { schema1: { enabled: true } },
    ...(auth === undefined ? {} : { auth }),
  }
  // The file is YAML, of which JSON is a part.
  writeFileSync(file, JSON.stringify(config))
  await startProgram(t, {
    command: program,
    args: ['serve', file],
    ready: () =>
      fetch(`${url}/v2/`).then(
        ({ ok, status }) => ok || status === 401,
        () => false,
      ),
  })
  return { address, push: (name, content) => pushContent(`${url}/v2/${name}`, content) }
}

/** Pushes everything in `content` to the repository at `base`, such as `http://host/v2/name`. */
export async function pushContent(base: string, content: SampleContent): Promise<void> {
  for (const [digest, bytes] of content.blobs) await pushBlob(base, digest, bytes)
  // Context come before what refers to them, as they do in the map.
  for (const [digest, { mediaType, bytes }] of content.manifests) {
    await pushManifest(base, digest, mediaType, bytes)
  }
  for (const [tag, digest] of content.tags) {
    const manifest = content.manifests.get(digest)
    if (manifest !== undefined) await pushManifest(base, tag, manifest.mediaType, manifest.bytes)
  }
  await pushReferrers(base, content)
}

async function pushBlob(base: string, digest: Digest, bytes: Buffer): Promise<void> {
  const started = await send('POST', `${base}/blobs/uploads/`)
  const location = new URL(started.headers.get('location') ?? '', base)
  location.searchParams.set('digest', digest)
  await send('PUT', location.href, 'application/octet-stream', bytes)
}

async function pushManifest(base: string, reference: string, type: string, bytes: Buffer) {
  await send('PUT', `${base}/manifests/${reference}`, type, bytes)
}

/** The tags of distribution-spec's "referrers tag schema": this registry has no referrers API. */
async function pushReferrers(base: string, { manifests }: SampleContent): Promise<void> {
  for (const [digest, { mediaType, bytes }] of manifests) {
    const { subject, artifactType } = JSON.parse(bytes.toString()) as {
      subject?: { digest: string }
      artifactType?: string
    }
    if (subject === undefined) continue
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [{ mediaType, digest, size: bytes.length, artifactType }],
      }),
    )
    const tag = subject.digest.replace(':', '-')
    await pushManifest(base, tag, mediaTypes.ociIndex, index)
  }
}

async function send(method: string, url: string, type?: string, body?: Buffer): Promise<Response> {
  const response = await fetch(url, {
    method,
    ...(type === undefined ? {} : { headers: { 'content-type': type } }),
    ...(body === undefined ? {} : { body: new Uint8Array(body) }),
  })
  if (response.ok) return response
  const told = await response.text()
  const sent = body === undefined ? '' : ` (${digestOf(body)})`
  throw new Error(`${method} ${url}${sent}: ${response.status} ${told}`)
}
