// A client that pulls with a certificate, as engines do, and checks every digest.
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { upstreamName } from '../lab/gateway.ts'
import type { Lab } from '../lab/lab.ts'

export interface Tally {
  pulls: number
  /** Requests that were made again, because their connection was gone. */
  again: number
  /** Pulls that came to nothing, and why. */
  failures: string[]
  /** Bytes that are not what their digest says. */
  wrong: string[]
}

export interface Puller {
  /** Never rejects. */
  pull: (repository: string) => Promise<void>
  close: () => void
}

/** An engine asks so often before it gives up. */
const attempts = 6

class WrongBytes extends Error {}

export function createTally(): Tally {
  return { pulls: 0, again: 0, failures: [], wrong: [] }
}

export function createPuller(
  { certificates: { ca, client } }: Lab,
  port: number,
  tally: Tally,
): Puller {
  const [trusted, cert, key] = [ca.edge, client.cert, client.key].map((file) => readFileSync(file))
  const agent = new Agent({ keepAlive: true, maxSockets: 4, ca: trusted, cert, key })

  async function pullImage(repository: string): Promise<void> {
    const path = (rest: string) => `/v2/${repository}/${rest}?ns=${upstreamName}`
    const index = JSON.parse((await get(path('manifests/1.0'))).toString()) as {
      manifests: { digest: Digest }[]
    }
    for (const { digest } of index.manifests) {
      const manifest = checked(digest, await get(path(`manifests/${digest}`)))
      const { config, layers } = JSON.parse(manifest.toString()) as {
        config: { digest: Digest }
        layers: { digest: Digest }[]
      }
      await Promise.all(
        [config, ...layers].map(async (blob) =>
          checked(blob.digest, await get(path(`blobs/${blob.digest}`))),
        ),
      )
    }
  }

  /** Asked for again where the connection is gone, as engines do; an answer is an answer. */
  async function get(path: string): Promise<Buffer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await getOnce(path)
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error) || attempt === attempts) throw error
        tally.again += 1
        await delay(100 * attempt)
      }
    }
  }

  async function getOnce(path: string): Promise<Buffer> {
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

  return {
    async pull(repository) {
      try {
        await pullImage(repository)
        tally.pulls += 1
      } catch (error) {
        const told = `${repository}: ${error instanceof Error ? error.message : String(error)}`
        ;(error instanceof WrongBytes ? tally.wrong : tally.failures).push(told)
      }
    },
    close: () => agent.destroy(),
  }
}

function checked(digest: Digest, bytes: Buffer): Buffer {
  if (digestOf(bytes) !== digest) throw new WrongBytes(`${digest} came with other bytes`)
  return bytes
}
