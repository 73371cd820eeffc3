// How long do 16 clients wait for one blob that has to be fetched, and how often is it fetched?
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { createFreshBlobs, startCaches } from './lab/cold.ts'
import { MiB } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { inTurn, type Series } from './lab/rounds.ts'
import { makeSite } from './lab/site.ts'

const clients = 16

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const { origin, gateway, nginx } = await startCaches(scope, site)
  const blobs = createFreshBlobs(origin, 1, 64 * MiB)
  const fetches: Series = new Map([
    [gateway, []],
    [nginx, []],
  ])
  const times = await inTurn(
    [gateway, nginx],
    async (server, round) => {
      const [line = ''] = blobs(round)
      await site.load({ kind: 'open', port: server.port, connections: clients })
      const before = await fetchesOf(origin.accessLog, line)
      const lines = Array.from({ length: clients }, () => line)
      const { seconds } = await site.load({ kind: 'once', lines })
      fetches.get(server)?.push((await fetchesOf(origin.accessLog, line)) - before)
      return seconds
    },
    { rounds: 7, seconds: 35 },
  )
  return [
    ...compare(times, { work: `${clients} clients, one cold blob`, unit: 's', targets: [0.7] }),
    ...compare(fetches, { work: 'requests to the origin for it', unit: 'GET', targets: [1] }),
  ]
})

/** After nginx has written its log, which it does twice a second. */
async function fetchesOf(accessLog: string, line: string): Promise<number> {
  await delay(700)
  return readFileSync(accessLog, 'latin1').split(`"${line} `).length - 1
}
