// The clients of a soak: each does one thing after the other until told to stop.
import { createHash, randomInt } from 'node:crypto'
import type { Agent } from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../src/oci/digest.ts'
import type { SoakSite } from './site.ts'

export interface ClientOutcome {
  /** What clients did, by name, and how it ended where it did not end well. */
  counts: Record<string, number>
  /** What must not be: complete bodies that are wrong, and statuses that blame the gateway. */
  violations: string[]
}

const clients = 8
/** Requests after which a client connects anew. */
const renewEvery = 40
const mostViolations = 20

type Deed = (site: SoakSite, agent: Agent) => Promise<string>

/** Each is done as often as it stands there, about. */
const deeds: Record<string, { weight: number; run: Deed }> = {
  tag: { weight: 20, run: async (site, agent) => pull(site, agent, '/v2/app/manifests/latest') },
  manifest: {
    weight: 20,
    run: async (site, agent) => {
      const digest = oneOf([...site.image.manifests.keys()])
      return pull(site, agent, `/v2/app/manifests/${digest}`, digest)
    },
  },
  blob: {
    weight: 20,
    run: async (site, agent) => {
      const digest = oneOf([...site.image.blobs.keys()].slice(0, 8))
      return pull(site, agent, `/v2/app/blobs/${digest}`, digest)
    },
  },
  cold: {
    weight: 4,
    run: async (site, agent) => {
      const digest = site.newBlob(randomInt(1000, 500_000))
      return pull(site, agent, `/v2/app/blobs/${digest}`, digest)
    },
  },
  range: {
    weight: 5,
    run: async ({ image, open }, agent) => {
      const [digest, bytes] = oneOf([...image.blobs].slice(0, 8))
      const first = randomInt(bytes.length)
      const response = await open(agent, `/v2/app/blobs/${digest}`, { range: `bytes=${first}-` })
      const chunks = (await response.toArray()) as Buffer[]
      if (response.statusCode !== 206) return outcomeOf(response.statusCode)
      return Buffer.concat(chunks).equals(bytes.subarray(first)) ? 'ok' : 'WRONG part'
    },
  },
  tags: { weight: 3, run: async (site, agent) => pull(site, agent, '/v2/app/tags/list') },
  catalog: { weight: 3, run: async (site, agent) => pull(site, agent, '/v2/_catalog') },
  absent: {
    weight: 3,
    run: async (site, agent) => pull(site, agent, `/v2/app/manifests/none-${randomInt(1000)}`),
  },
  leaving: {
    weight: 3,
    run: async ({ open, newBlob }, agent) => {
      const response = await open(agent, `/v2/app/blobs/${newBlob(300_000)}`)
      response.once('data', () => response.destroy())
      await new Promise((resolve) => void response.once('close', resolve))
      return 'ok'
    },
  },
  slow: {
    weight: 1,
    run: async ({ open, image }, agent) => {
      const [digest] = oneOf([...image.blobs].toSorted(([, a], [, b]) => b.length - a.length))
      const response = await open(agent, `/v2/app/blobs/${digest}`)
      const hash = createHash('sha256')
      for await (const chunk of response as AsyncIterable<Buffer>) {
        hash.update(chunk)
        await delay(5)
      }
      return rightOrNot(response.statusCode, hash.digest('hex'), digest)
    },
  },
}

/** Resolves once all have stopped. */
export async function startClients(site: SoakSite, over: AbortSignal): Promise<ClientOutcome> {
  const outcome: ClientOutcome = { counts: {}, violations: [] }
  const names = Object.entries(deeds).flatMap(([name, { weight }]) =>
    Array.from({ length: weight }, () => name),
  )
  await Promise.all(Array.from({ length: clients }, async () => live(site, names, outcome, over)))
  return outcome
}

async function live(
  site: SoakSite,
  names: readonly string[],
  { counts, violations }: ClientOutcome,
  over: AbortSignal,
): Promise<void> {
  let agent = site.connect()
  for (let round = 1; !over.aborted; round += 1) {
    const name = oneOf(names)
    const ended = await deeds[name]?.run(site, agent).catch(() => 'cut')
    const label = ended === 'ok' ? name : `${name} ${ended}`
    counts[label] = (counts[label] ?? 0) + 1
    const isWrong = ended?.startsWith('WRONG') === true || ended === '500'
    if (isWrong && violations.length < mostViolations) violations.push(label)
    if (round % renewEvery === 0) {
      agent.destroy()
      agent = site.connect()
    }
    await delay(randomInt(40))
  }
  agent.destroy()
}

async function pull(
  { open }: SoakSite,
  agent: Agent,
  path: string,
  digest?: Digest,
): Promise<string> {
  const response = await open(agent, path)
  const hash = createHash('sha256')
  for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk)
  return rightOrNot(response.statusCode, hash.digest('hex'), digest)
}

function rightOrNot(status: number | undefined, hex: string, digest: Digest | undefined): string {
  const isRight = digest === undefined || digest === `sha256:${hex}`
  return status === 200 && !isRight ? `WRONG body of ${digest}` : outcomeOf(status)
}

function outcomeOf(status: number | undefined): string {
  return status === 200 ? 'ok' : String(status)
}

function oneOf<T>(all: readonly T[]): T {
  const found = all[randomInt(all.length)]
  if (found === undefined) throw new Error('there is none')
  return found
}
