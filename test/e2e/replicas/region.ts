// A region of the lab: three replicas behind haproxy, nginx and docker-registry behind them, and beside
// them a store that they share, where one is wanted.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../../src/demo/sample-image.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { partsIn } from '../../helpers/images.ts'
import { startObjectStore, type TestObjectStore } from '../../helpers/object-store.ts'
import { subfolder } from '../lab/folder.ts'
import {
  configFor,
  startConfigured,
  upstreamFor,
  upstreamName,
  writeConfig,
  type Gateway,
  type Section,
} from '../lab/gateway.ts'
import { startLab, type Lab } from '../lab/lab.ts'
import { freePort, startProgram } from '../lab/program.ts'

export type Bench = Pick<Test, 'teardown'>

export interface Region {
  lab: Lab
  images: Image[]
  /** What they consist of; what is about them is pulled by nobody. */
  digests: Digest[]
  /** Whichever run at this moment. */
  replicas: Replica[]
  /** Where clients ask: any replica. */
  port: number
  store: TestObjectStore | undefined
  /** Requests that nginx had answered before the replicas were there. */
  before: number
}

export interface Image {
  repository: string
  content: SampleContent
}

export interface Replica {
  /** What it is to nginx: the common name of its certificate. */
  name: string
  gateway: Gateway
  /** Its cache. */
  dir: string
  /** Starts it again after it was ended. */
  start: () => Promise<void>
}

export interface RegionOptions {
  images: number
  replicas?: number
  hasStore?: boolean
}

export async function startRegion(t: Bench, options: RegionOptions): Promise<Region> {
  const { images: count, replicas: size = 3, hasStore = false } = options
  const lab = await startLab(t, { layerBytes: 100_000 })
  const images: Image[] = []
  for (let seed = 0; seed < count; seed += 1) {
    const repository = `sample/image-${seed}`
    const content = await buildSampleImage({ layerBytes: 300_000, seed: `replicas ${seed}` })
    await lab.registry.push(repository, content)
    images.push({ repository, content })
  }
  const before = (await lab.nginx.requests()).length
  const store = hasStore ? await startObjectStore(t, subfolder(lab.folder, 'store')) : undefined
  const replicas = await startReplicas(t, lab, { size, store })
  const port = await startBalancer(
    t,
    lab,
    replicas.map(({ gateway }) => gateway.port),
  )
  const digests = images.flatMap(({ content }) =>
    [...content.tags.values()].flatMap((digest) => partsIn(content, digest)),
  )
  return { lab, images, digests: [...new Set(digests)], replicas, port, store, before }
}

/** One that has nothing but the store: no upstream, no other replica, an empty disk. */
export async function startNewcomer(t: Bench, { lab, store }: Region): Promise<Gateway> {
  const { upstreams, ...config } = configFor(lab)
  const offline = Object.fromEntries(
    Object.entries(upstreams).map(([name, upstream]) => [
      name,
      { ...(upstream as Section), offline: true },
    ]),
  )
  const file = writeConfig(t, { ...config, upstreams: offline, ...cacheOf(store) })
  return startConfigured(t, file)
}

async function startReplicas(
  t: Bench,
  lab: Lab,
  { size, store }: { size: number; store: TestObjectStore | undefined },
): Promise<Replica[]> {
  const { certificates } = lab
  const pair = await certificates.issue('replica', 'edge', {
    profile: 'client',
    commonName: 'replica',
  })
  const ports = await Promise.all(Array.from({ length: size }, freePort))
  const config = configFor(lab)
  const group = {
    list: ports.map((port) => `127.0.0.1:${port}`),
    identity: ['replica'],
    tls: { ca: certificates.ca.edge, ...pair },
  }
  return Promise.all(
    ports.map(async (port) => {
      const name = `replica-${port}`
      const own = await certificates.issue(name, 'upstream', {})
      const file = writeConfig(t, {
        ...config,
        listen: { ...config.listen, port },
        upstreams: { [upstreamName]: upstreamFor(lab, { ...own }) },
        ...(size > 1 ? { replicas: group } : {}),
        ...cacheOf(store),
      })
      return startReplica(t, name, file)
    }),
  )
}

async function startReplica(t: Bench, name: string, file: string): Promise<Replica> {
  const gateway = await startConfigured(t, file)
  const replica: Replica = {
    name,
    gateway,
    dir: join(gateway.folder, 'cache'),
    async start() {
      replica.gateway = await startConfigured(t, file)
    },
  }
  return replica
}

function cacheOf(store: TestObjectStore | undefined): Section {
  if (store === undefined) return {}
  const { endpoint, bucket, pathStyle } = store.config
  return { cache: { dir: 'cache', shared: { s3: { endpoint, bucket, pathStyle } } } }
}

/** haproxy in TCP mode: the clients' TLS ends in the replicas. Resolves to its port. */
async function startBalancer(t: Bench, lab: Lab, ports: readonly number[]): Promise<number> {
  const port = await freePort()
  const file = join(lab.folder, 'haproxy.cfg')
  const servers = ports.map(
    (to, at) => `  server replica-${at} 127.0.0.1:${to} check inter 300 rise 1 fall 1`,
  )
  writeFileSync(
    file,
    `defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch 1
listen registry
  bind 127.0.0.1:${port}
  balance roundrobin
${servers.join('\n')}
`,
  )
  await startProgram(t, { command: 'haproxy', args: ['-db', '-f', file] })
  return port
}
