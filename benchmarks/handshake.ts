// What does a full handshake cost in which both sides show a certificate?
import { emptyContent } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { cpuOf, inTurn } from './lab/rounds.ts'
import { makeSite } from './lab/site.ts'
import { startServers } from './lab/warm.ts'

const atOnce = 8

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const servers = await startServers(scope, site, emptyContent(), ['nginx', 'registry'])
  const series = await inTurn(
    servers,
    async (server) => {
      let requests = 0
      const cpu = await cpuOf(server, async () => {
        const call = { kind: 'handshakes', port: server.port, seconds: 2, atOnce } as const
        requests = (await site.load(call)).requests
      })
      return cpu / requests
    },
    { rounds: 5, seconds: 35 },
  )
  return compare(series, {
    work: 'full handshake, mutual TLS',
    unit: 'CPU us',
    scale: 1e6,
    targets: [0.85, undefined],
  })
})
