// The gateway of a soak, as a process of its own with certificates on both sides, and its upstream.
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Agent, get } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { startConfigured, writeConfig, type Gateway } from '../e2e/lab/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream, type Upstream } from '../helpers/upstream.ts'

export interface SoakSite {
  gateway: Gateway
  upstream: Upstream
  image: SampleContent
  dir: string
  adminPort: number
  /** Gives the listener another certificate of the same authority. */
  renew: () => Promise<void>
  /** A new agent with the certificate of a client. */
  connect: () => Agent
  open: (agent: Agent, path: string, headers?: Record<string, string>) => Promise<IncomingMessage>
  /** A blob that nobody has asked for; the upstream forgets an older one for it. */
  newBlob: (bytes: number) => Digest
}

/** More than many of one sort take, and less than the cold blobs of some minutes. */
const maxBytes = '512MiB'

export interface SoakOptions {
  /** What starts the gateway. */
  by?: readonly string[]
  /** More of its section `listen`. */
  listen?: Record<string, unknown>
  /** New blobs that the upstream knows at once. */
  kept?: number
}

export async function startSoakSite(
  t: Pick<Test, 'teardown'>,
  { by = [], listen = {}, kept = 50 }: SoakOptions = {},
): Promise<SoakSite> {
  const pki = await testPki()
  const image = await buildSampleImage({ layerBytes: 4_000_000 })
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const file = writeConfig(t, {
    listen: {
      host: '127.0.0.1',
      port: 0,
      grace: '5s',
      ...listen,
      tls: { cert: 'server.crt', key: 'server.key', clientAuth: 'required', clientCa: ['ca.crt'] },
    },
    admin: { port: 0 },
    cache: { dir: 'cache', maxBytes },
    upstreams: {
      'registry.test': {
        url: upstream.url,
        tagTtl: '5s',
        headersTimeout: '2s',
        stallTimeout: '2s',
      },
    },
    defaultUpstream: 'registry.test',
  })
  const folder = join(file, '..')
  const pairs = [pki.server, pki.spareServer]
  let turn = 0
  const writePair = () => {
    const pair = pairs[turn++ % pairs.length] ?? pki.server
    writeFileSync(join(folder, 'server.crt'), pair.certificatePem)
    writeFileSync(join(folder, 'server.key'), pair.keyPem)
  }
  writeFileSync(join(folder, 'ca.crt'), pki.ca.certificatePem)
  writePair()
  const gateway = await startConfigured(t, file, by)
  const { adminPort } = await gateway.logged('its ports', ({ msg }) => msg === 'listening')
  const added: Digest[] = []
  const { certificatePem: cert, keyPem: key } = pki.client
  return {
    gateway,
    upstream,
    image,
    dir: join(folder, 'cache'),
    adminPort: Number(adminPort),
    renew: async () => writePair(),
    connect: () =>
      new Agent({ ca: pki.ca.certificatePem, cert, key, keepAlive: true, maxSockets: 1 }),
    open: (agent, path, headers = {}) =>
      new Promise((resolve, reject) => {
        get({ agent, host: 'localhost', port: gateway.port, path, headers }, resolve).on(
          'error',
          reject,
        )
      }),
    newBlob(bytes) {
      const content = randomBytes(bytes)
      const digest = digestOf(content)
      image.blobs.set(digest, content)
      added.push(digest)
      const oldest = added.length > kept ? added.shift() : undefined
      if (oldest !== undefined) image.blobs.delete(oldest)
      return digest
    },
  }
}
