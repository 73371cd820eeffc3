// Three replicas behind haproxy, nginx and docker-registry behind them, and many clients that pull with
// certificates and check every digest, while replicas are killed.
// `node test/e2e/replicas.ts --images 200 --pullers 30 --seconds 120` prints what came of it.
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import {
  configFor,
  startConfigured,
  upstreamName,
  writeConfig,
  type Gateway,
} from './lab/gateway.ts'
import { startLab, type Lab } from './lab/lab.ts'
import { freePort, startProgram } from './lab/program.ts'

export interface ReplicaOptions {
  images: number
  pullers: number
  /** How often one is killed, ms; 0: none is. */
  killEvery: number
  /** How long is pulled at least; at least every image once. */
  seconds: number
}

export interface ReplicaOutcome {
  pulls: number
  kills: number
  /** Requests that were made again, because their connection was gone. */
  again: number
  failures: string[]
  /** GETs of blobs and manifests by digest that nginx has answered, by digest. */
  gets: Map<string, number>
  /** Digests of all images. */
  digests: Digest[]
}

/** An engine asks so often before it gives up. */
const attempts = 6

export async function pullThroughReplicas(
  t: Pick<Test, 'teardown'>,
  { images, pullers, killEvery, seconds }: ReplicaOptions,
): Promise<ReplicaOutcome> {
  const lab = await startLab(t, { layerBytes: 100_000 })
  const contents: SampleContent[] = []
  for (let seed = 0; seed < images; seed += 1) {
    const content = await buildSampleImage({ layerBytes: 300_000, seed: `replicas ${seed}` })
    await lab.registry.push(`sample/image-${seed}`, content)
    contents.push(content)
  }
  const before = (await lab.nginx.requests()).length
  const { gateways, files } = await startReplicas(t, lab)
  const port = await startBalancer(
    t,
    lab,
    gateways.map((gateway) => gateway.port),
  )
  const outcome: ReplicaOutcome = {
    pulls: 0,
    kills: 0,
    again: 0,
    failures: [],
    gets: new Map(),
    digests: contents.flatMap(({ blobs, manifests }) => [...blobs.keys(), ...manifests.keys()]),
  }
  const over = new AbortController()
  const killing =
    killEvery > 0 ? killAround(t, { gateways, files, killEvery, outcome, over }) : undefined
  const until = Date.now() + seconds * 1000
  await Promise.all(
    Array.from({ length: pullers }, async (_, puller) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 4, ...tlsOf(lab) })
      for (let round = 0; round < images || Date.now() < until; round += 1) {
        const image = (round + puller * 7) % images
        await pullImage({ agent, port, outcome }, `sample/image-${image}`)
      }
      agent.destroy()
    }),
  )
  over.abort()
  await killing
  for (const { method, target } of (await lab.nginx.requests()).slice(before)) {
    const digest = /(?:blobs|manifests)\/(sha256:[0-9a-f]{64})/.exec(target)?.[1]
    if (method === 'GET' && digest) outcome.gets.set(digest, (outcome.gets.get(digest) ?? 0) + 1)
  }
  return outcome
}

async function startReplicas(t: Pick<Test, 'teardown'>, lab: Lab) {
  const { certificates } = lab
  const replica = await certificates.issue('replica', 'edge', {
    profile: 'client',
    commonName: 'replica',
  })
  const ports = [await freePort(), await freePort(), await freePort()]
  const config = configFor(lab)
  const files = ports.map((port) =>
    writeConfig(t, {
      ...config,
      listen: { ...config.listen, port },
      replicas: {
        list: ports.map((other) => `127.0.0.1:${other}`),
        identity: ['replica'],
        tls: { ca: certificates.ca.edge, ...replica },
      },
    }),
  )
  const gateways = await Promise.all(files.map(async (file) => startConfigured(t, file)))
  return { gateways, files }
}

/** haproxy in TCP mode: the clients' TLS ends in the replicas. Resolves to its port. */
async function startBalancer(t: Pick<Test, 'teardown'>, lab: Lab, ports: readonly number[]) {
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

interface Killing {
  gateways: Gateway[]
  files: readonly string[]
  killEvery: number
  outcome: ReplicaOutcome
  over: AbortController
}

async function killAround(t: Pick<Test, 'teardown'>, killing: Killing): Promise<void> {
  const { gateways, files, killEvery, outcome, over } = killing
  const pause = async (ms: number) => delay(ms, undefined, { signal: over.signal }).catch(() => {})
  for (let turn = 0; !over.signal.aborted; turn += 1) {
    await pause(killEvery)
    if (over.signal.aborted) return
    const at = turn % gateways.length
    await gateways[at]?.program.stop('SIGKILL')
    outcome.kills += 1
    await pause(1000)
    gateways[at] = await startConfigured(t, files[at] ?? '')
  }
}

interface Puller {
  agent: Agent
  port: number
  outcome: ReplicaOutcome
}

async function pullImage(puller: Puller, repository: string): Promise<void> {
  const { outcome } = puller
  const path = (rest: string) => `/v2/${repository}/${rest}?ns=${upstreamName}`
  try {
    const index = JSON.parse((await get(puller, path('manifests/1.0'))).toString()) as {
      manifests: { digest: Digest }[]
    }
    for (const { digest } of index.manifests) {
      const manifest = checked(digest, await get(puller, path(`manifests/${digest}`)))
      const { config, layers } = JSON.parse(manifest.toString()) as {
        config: { digest: Digest }
        layers: { digest: Digest }[]
      }
      await Promise.all(
        [config, ...layers].map(async (blob) =>
          checked(blob.digest, await get(puller, path(`blobs/${blob.digest}`))),
        ),
      )
    }
    outcome.pulls += 1
  } catch (error) {
    outcome.failures.push(
      `${repository}: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

function checked(digest: Digest, bytes: Buffer): Buffer {
  if (digestOf(bytes) !== digest) throw new Error(`${digest} came with other bytes`)
  return bytes
}

/** Asked for again where the connection is gone, as engines do; an answer is an answer. */
async function get({ agent, port, outcome }: Puller, path: string): Promise<Buffer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await getOnce(agent, port, path)
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || attempt === attempts) throw error
      outcome.again += 1
      await delay(100 * attempt)
    }
  }
}

async function getOnce(agent: Agent, port: number, path: string): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const asked = request({ host: '127.0.0.1', port, path, agent }, (response) => {
    buffer(response).then((bytes) => {
      if (response.statusCode === 200) resolve(bytes)
      else reject(new Error(`${path}: ${response.statusCode} ${bytes.toString().slice(0, 200)}`))
    }, reject)
  })
  asked.on('error', reject)
  asked.end()
  return promise
}

function tlsOf({ certificates: { ca, client } }: Lab) {
  const [trusted, cert, key] = [ca.edge, client.cert, client.key].map((file) => readFileSync(file))
  return { ca: trusted, cert, key }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      images: { type: 'string', default: '200' },
      pullers: { type: 'string', default: '30' },
      seconds: { type: 'string', default: '120' },
      'kill-every': { type: 'string', default: '5' },
    },
  })
  const cleanups: (() => unknown)[] = []
  try {
    const outcome = await pullThroughReplicas(
      { teardown: (cleanup: () => unknown) => void cleanups.unshift(cleanup) },
      {
        images: Number(values.images),
        pullers: Number(values.pullers),
        seconds: Number(values.seconds),
        killEvery: Number(values['kill-every']) * 1000,
      },
    )
    const { gets, digests, failures, ...counts } = outcome
    const several = digests.filter((digest) => (gets.get(digest) ?? 0) > 1)
    console.log({
      ...counts,
      digests: digests.length,
      fetchedMoreThanOnce: several.length,
      failures,
    })
    process.exitCode = failures.length === 0 ? 0 : 1
  } finally {
    for (const cleanup of cleanups) await cleanup()
  }
}
