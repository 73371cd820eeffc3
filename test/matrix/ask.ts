// What the runner asks a gateway: as a client with one certificate or another, and its metrics.
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { manifestAccept } from '../../src/oci/media-type.ts'
import { until } from '../e2e/lab/program.ts'
import type { Places } from './places.ts'
import type { ClientName, GatewayName } from './plan.ts'

export interface Answer {
  status: number
  bytes: Buffer
}

/** PEM. */
export interface Identity {
  ca: string
  cert?: string
  key?: string
}

/** What a client trusts and shows. */
export function identityOf({ lab }: Places, client: ClientName): Identity {
  const read = (file: string) => readFileSync(join(lab, file), 'utf8')
  const ca = read('edge-ca.crt')
  if (client === 'none') return { ca }
  return { ca, cert: read(`client-${client}.crt`), key: read(`client-${client}.key`) }
}

/** One request on a connection of its own. Rejects where no answer comes. */
export function ask(url: string, identity: Identity): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { accept: manifestAccept }
    request(url, { ...identity, agent: false, headers, timeout: 30_000 }, (response) => {
      buffer(response).then(
        (bytes) => resolve({ status: response.statusCode ?? 0, bytes }),
        (error: unknown) => reject(error instanceof Error ? error : new Error(String(error))),
      )
    })
      .on('timeout', function (this: { destroy: (error: Error) => void }) {
        this.destroy(new Error(`${url}: no answer in 30 s`))
      })
      .on('error', reject)
      .end()
  })
}

/** The code of an OCI error body, or what came instead. */
export function errorCode({ bytes }: Answer): string {
  try {
    const { errors } = JSON.parse(bytes.toString()) as { errors: { code: string }[] }
    return errors[0]?.code ?? 'no code'
  } catch {
    return 'no OCI error'
  }
}

export function gatewayUrl(places: Places, name: GatewayName): string {
  const { host, port } = places.gateways[name]
  return `https://${host}:${port}`
}

/** Values by series, such as `portcullis_fills_in_flight` or `name{label="value"}`. */
export type Metrics = ReadonlyMap<string, number>

export async function readMetrics(places: Places, name: GatewayName): Promise<Metrics> {
  const { bytes } = await askAdmin(places, name, '/metrics')
  const lines = bytes.toString().split('\n')
  return new Map(
    lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const space = line.lastIndexOf(' ')
        return [line.slice(0, space), Number(line.slice(space + 1))]
      }),
  )
}

/** Resolves once the gateway calls itself ready. */
export async function untilReady(places: Places, name: GatewayName): Promise<void> {
  await until(`the gateway ${name} is ready`, () =>
    askAdmin(places, name, '/readyz').then(
      ({ status }) => status === 200,
      () => false,
    ),
  )
}

/**
 * The reason that a counter has counted since `before`: the value of its label `label` among series
 * that have `having`. The gateway counts when an answer is out, so it may take a moment.
 */
export async function reasonCounted(
  places: Places,
  gateway: GatewayName,
  counter: { name: string; label: string; having?: string; before: Metrics },
): Promise<string> {
  const { name, label, having = '', before } = counter
  let reasons: string[] = []
  try {
    await until('the gateway has counted the refusal', async () => {
      const now = await readMetrics(places, gateway)
      reasons = [...now]
        .filter(([series]) => series.startsWith(`${name}{`) && series.includes(having))
        .filter(([series, value]) => value > (before.get(series) ?? 0))
        .map(([series]) => new RegExp(`${label}="([^"]*)"`).exec(series)?.[1] ?? series)
      return reasons.length > 0
    })
  } catch {
    return 'nothing counted'
  }
  return reasons.join(', ')
}

function askAdmin(places: Places, name: GatewayName, path: string): Promise<Answer> {
  const { host, adminPort } = places.gateways[name]
  return ask(`https://${host}:${adminPort}${path}`, identityOf(places, 'none'))
}
