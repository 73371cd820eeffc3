// Where everything of the matrix is: in containers always at the same places, on this machine at
// whatever ports are free.
import { join } from 'node:path'
import { gatewayNames, situationNames, type GatewayName, type SituationName } from './plan.ts'

export interface Places {
  /** Certificates and configs. */
  lab: string
  /** What nginx writes: its log, above all. */
  nginxRun: string
  /** `host:port`; plain HTTP. */
  registry: string
  nginx: { host: string; health: number; ports: Record<SituationName, number> }
  gateways: Record<GatewayName, GatewayPlace>
  /** Whether networks keep the gateways from the registry and the runner from nginx. */
  isolated: boolean
}

export interface GatewayPlace {
  /** Where others reach it. */
  host: string
  /** Where it listens. */
  listen: string
  port: number
  adminPort: number
  cache: string
}

/** As docker-compose.yml has it. */
export const composePlaces: Places = {
  lab: '/lab',
  nginxRun: '/run/matrix',
  registry: 'registry:5000',
  nginx: { host: 'nginx', health: 8080, ports: bySituation((index) => 6441 + index) },
  gateways: byGateway((host) => ({
    host,
    listen: '0.0.0.0',
    port: 5443,
    adminPort: 5480,
    cache: '/var/lib/portcullis',
  })),
  isolated: true,
}

/** On this machine. `ports` gives one port after the other, each for what it is told. */
export async function nativePlaces(
  folder: string,
  ports: (what: string) => Promise<number>,
): Promise<Places> {
  const registry = `127.0.0.1:${await ports('docker-registry')}`
  const health = await ports('the health check of nginx')
  const servers = await inTurn(situationNames, (name) => ports(`the nginx server ${name}`))
  const gateways = await inTurn(gatewayNames, async (name) => ({
    port: await ports(`the gateway ${name}`),
    adminPort: await ports(`the admin listener of the gateway ${name}`),
  }))
  return {
    lab: folder,
    nginxRun: join(folder, 'nginx'),
    registry,
    nginx: { host: 'localhost', health, ports: bySituation((index) => servers[index] ?? 0) },
    gateways: byGateway((name, index) => ({
      host: 'localhost',
      listen: '127.0.0.1',
      ...(gateways[index] ?? { port: 0, adminPort: 0 }),
      cache: join(folder, `cache-${name}`),
    })),
    isolated: false,
  }
}

async function inTurn<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  for (const item of items) results.push(await work(item))
  return results
}

function bySituation<Value>(of: (index: number) => Value): Record<SituationName, Value> {
  const entries = situationNames.map((name, index) => [name, of(index)])
  return Object.fromEntries(entries) as Record<SituationName, Value>
}

function byGateway<Value>(
  of: (name: GatewayName, index: number) => Value,
): Record<GatewayName, Value> {
  const entries = gatewayNames.map((name, index) => [name, of(name, index)])
  return Object.fromEntries(entries) as Record<GatewayName, Value>
}
