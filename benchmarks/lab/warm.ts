// Work on content that every server holds already: CPU per byte or per request.
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { startGateway } from './gateway.ts'
import { startOrigin } from './nginx.ts'
import { startRegistry } from './registry.ts'
import { cpuOf, inTurn, type Series } from './rounds.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import type { Server } from './server.ts'
import type { Site } from './site.ts'

type Peer = 'nginx' | 'registry' | 'tuned registry'

/** Starts the gateway, first of the result, and the peers that are asked for, all with `content`. */
export async function startServers(
  scope: Scope,
  site: Site,
  content: SampleContent,
  peers: readonly Peer[],
): Promise<[Server, ...Server[]]> {
  const origin = await startOrigin(scope, { ...site, content })
  const gateway = await startGateway(scope, { ...site, originPort: origin.port })
  const servers: [Server, ...Server[]] = [gateway]
  for (const peer of peers) {
    if (peer === 'nginx') servers.push(origin)
    else {
      const tuning = peer === 'registry' ? {} : { gogc: 800 }
      servers.push(await startRegistry(scope, { ...site, content, ...tuning }))
    }
  }
  return servers
}

export interface WarmWork {
  /** What each connection asks for again and again. */
  lines: readonly string[]
  connections: number
  /** CPU seconds are divided by what was done of this. */
  per: 'requests' | 'bytes'
  rounds?: number
}

/** About as long as one round of one server takes, seconds; the work that was begun is finished. */
const roundSeconds = 1.5

export function measureWarm(
  { load }: Site,
  servers: readonly Server[],
  { lines, connections, per, rounds = 5 }: WarmWork,
): Promise<Series> {
  return inTurn(
    servers,
    async (server) => {
      await load({ kind: 'open', port: server.port, connections })
      const done = { requests: 0, bytes: 0 }
      const cpu = await cpuOf(server, async () => {
        const result = await load({ kind: 'repeat', lines, seconds: roundSeconds })
        Object.assign(done, result)
      })
      await load({ kind: 'close' })
      return cpu / done[per]
    },
    { rounds, seconds: 35 },
  )
}
