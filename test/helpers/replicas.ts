// Gateways that share the work in front of one upstream, with certificates that let them.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { startTestGateway, type TestGateway } from './gateway.ts'
import { testPki } from './tls.ts'
import { startUpstream, type Fault } from './upstream.ts'

const pki = await testPki()
export const replicaCertificate = await issueCertificate(pki.ca, {
  profile: 'client',
  commonName: 'replica-of-region',
  dnsNames: [],
  ipAddresses: [],
})
const files = {
  'replica.crt': replicaCertificate.certificatePem,
  'replica.key': replicaCertificate.keyPem,
}

export interface ReplicasOptions {
  /** By name. */
  repositories: Record<string, SampleContent>
  faults?: Fault[]
  /** Further sections of every gateway. */
  more?: string
  /** Lines of the upstream's section. */
  upstream?: string
}

/** So many gateways of one upstream, which know of each other once they are introduced. */
export async function startStrangers(t: Test, count: number, options: ReplicasOptions) {
  const { repositories, faults = [], more = '', upstream: keys = '' } = options
  const upstream = await startUpstream(t, { repositories, faults })
  const yaml = (list: readonly string[]) => `upstreams:
  registry.test: { url: '${upstream.url}', ${keys} }
${sectionFor(list)}${more}`
  const gateways: TestGateway[] = []
  for (let index = 0; index < count; index += 1) {
    gateways.push(await startTestGateway(t, yaml([]), { files }))
  }
  const addresses = gateways.map(({ port }) => `127.0.0.1:${port}`)
  async function introduce(): Promise<void> {
    for (const { folder, reload } of gateways) {
      const file = join(folder, 'gateway.yaml')
      const config = readFileSync(file, 'utf8')
      writeFileSync(file, config.slice(0, config.indexOf('upstreams:')) + yaml(addresses))
      t.equal(await reload(), true)
    }
  }
  return { upstream, gateways, addresses, introduce }
}

/** So many replicas, which know each other. */
export async function startReplicas(t: Test, count: number, options: ReplicasOptions) {
  const started = await startStrangers(t, count, options)
  await started.introduce()
  return started
}

/** A gateway with an empty cache, that is none of the replicas itself and knows the one on `port`. */
export async function startBeside(t: Test, url: string, port: number): Promise<TestGateway> {
  const upstreams = `upstreams: { registry.test: { url: '${url}' } }\n`
  return startTestGateway(t, upstreams + sectionFor([`127.0.0.1:${port}`]), { files })
}

function sectionFor(list: readonly string[]): string {
  return `replicas:
  list: [${list.map((address) => `'${address}'`).join(', ')}]
  identity: [replica-*]
  tls: { ca: ca.crt, cert: replica.crt, key: replica.key }
`
}

/** Pulls everything of the image `latest` of `app`, and checks every digest. */
export async function pullApp({ send }: Pick<TestGateway, 'send'>, t: Test): Promise<void> {
  const index = await send('/v2/app/manifests/latest?ns=registry.test')
  t.equal(index.status, 200)
  const { manifests } = JSON.parse(index.body.toString()) as { manifests: { digest: Digest }[] }
  for (const { digest } of manifests) {
    const manifest = await send(`/v2/app/manifests/${digest}?ns=registry.test`)
    t.equal(digestOf(manifest.body), digest)
    const { config, layers } = JSON.parse(manifest.body.toString()) as {
      config: { digest: Digest }
      layers: { digest: Digest }[]
    }
    for (const blob of [config, ...layers]) {
      const { body, status } = await send(`/v2/app/blobs/${blob.digest}?ns=registry.test`)
      t.equal(status, 200)
      t.equal(digestOf(body), blob.digest)
    }
  }
}

/** Contents of one image that a client needs: two platforms of an index. */
export function contentsOf(content: SampleContent): Digest[] {
  return [...content.manifests.keys(), ...content.blobs.keys()]
}
