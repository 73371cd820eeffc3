// Container engines that pull through the replicas, each time with nothing from before.
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../../src/oci/digest.ts'
import { certificateFolder } from '../lab/certificates.ts'
import { startContainerd } from '../lab/containerd.ts'
import { dockerHost, startDocker } from '../lab/docker.ts'
import { upstreamName } from '../lab/gateway.ts'
import { makePodman } from '../lab/podman.ts'
import type { Outcome } from '../lab/program.ts'
import { withScope } from '../lab/scope.ts'
import type { Bench, Image, Region } from './region.ts'

export interface EngineTally {
  /** Pulls by the name of the engine. */
  pulls: Map<string, number>
  /** Pulls that were begun again: a kubelet does so where an engine gives up. */
  again: number
  failures: string[]
}

/** How often a pull is begun. */
const attempts = 3

/** How many images an engine pulls before it is emptied. */
const atOnce = 2

type Pull = (image: Image) => Promise<void>
type StartEngine = (t: Bench, region: Region) => Promise<Pull>

const engines: Record<string, StartEngine> = {
  ctr: startCtr,
  docker: startDockerd,
  podman: startPodman,
}

/** Each pulls images until `until`, at least a few. */
export async function pullByEngines(region: Region, until: number): Promise<EngineTally> {
  const tally: EngineTally = { pulls: new Map(), again: 0, failures: [] }
  await Promise.all(
    Object.entries(engines).map(async ([name, start], at) => {
      let next = at * 13
      do {
        await withScope(async (t) => {
          const pull = await start(t, region)
          for (let count = 0; count < atOnce; count += 1, next += 1) {
            const image = region.images[next % region.images.length]
            if (image === undefined) return
            await pullWithPatience(tally, name, async () => pull(image))
          }
        })
      } while (Date.now() < until)
    }),
  )
  return tally
}

async function pullWithPatience(
  tally: EngineTally,
  name: string,
  pull: () => Promise<void>,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await pull()
      tally.pulls.set(name, (tally.pulls.get(name) ?? 0) + 1)
      return
    } catch (error) {
      if (attempt === attempts) {
        tally.failures.push(`${name}: ${String(error)}`)
        return
      }
      tally.again += 1
      await delay(1000)
    }
  }
}

/** Engines check what they get themselves; what they say it is must be what it is. */
function expectDigest({ code, stdout, stderr }: Outcome, digest: Digest): void {
  if (code !== 0) throw new Error(`exit ${code}: ${stderr.trim().slice(-500)}`)
  if (!stdout.includes(digest)) throw new Error(`${digest} expected: ${stdout.slice(-500)}`)
}

function indexOf({ content }: Image): Digest {
  const digest = content.tags.get('1.0')
  if (digest === undefined) throw new Error('the image has no tag')
  return digest
}

async function startCtr(t: Bench, { lab, port }: Region): Promise<Pull> {
  const { ca, client } = lab.certificates
  const containerd = await startContainerd(t)
  const host = { url: `https://127.0.0.1:${port}`, ca: ca.edge, client }
  return async (image) => {
    const pulled = await containerd.pull(`${upstreamName}/${image.repository}:1.0`, host)
    const { stdout } = await containerd.ctr('images', 'ls')
    expectDigest({ ...pulled, stdout }, indexOf(image))
  }
}

async function startDockerd(t: Bench, { lab, port }: Region): Promise<Pull> {
  const { ca, client } = lab.certificates
  const { docker, trust } = await startDocker(t)
  const registry = `${dockerHost}:${port}`
  trust(registry, ca.edge, client)
  return async (image) => {
    const name = `${registry}/${upstreamName}/${image.repository}:1.0`
    expectDigest(await docker('pull', name), indexOf(image))
  }
}

async function startPodman(t: Bench, { lab, port }: Region): Promise<Pull> {
  const { ca, client } = lab.certificates
  const certs = certificateFolder(join(lab.folder, 'certs'), ca.edge, client)
  const podman = makePodman(t)
  return async (image) => {
    const name = `127.0.0.1:${port}/${upstreamName}/${image.repository}:1.0`
    const pulled = await podman('pull', `--cert-dir=${certs}`, name)
    const { stdout } = await podman('image', 'inspect', '--format', '{{.RepoDigests}}', name)
    expectDigest({ ...pulled, stdout }, indexOf(image))
  }
}
