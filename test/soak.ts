// `node test/soak.ts --minutes 30 [--svg FILE] [--env NAME=VALUE]`: a gateway under mixed pulls, upstream faults, reloads,
// slow and leaving clients, and damage to its files. Draws memory, descriptors, event-loop lag and
// latency over the time into one picture (docs/images/soak.svg unless told), and judges their slopes
// and every body that a client got. Exit code 1 where something is not as it should.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createScope } from './e2e/lab/scope.ts'
import { drawSoak } from './soak/chart.ts'
import { startClients } from './soak/clients.ts'
import { startTroubles } from './soak/troubles.ts'
import { measure } from './soak/measure.ts'
import { startSoakSite } from './soak/site.ts'
import { judge, pointsOf } from './soak/verdict.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    /** Of the gateway, such as another allocator in LD_PRELOAD. */
    env: { type: 'string', multiple: true, default: [] },
    svg: { type: 'string', default: join(import.meta.dirname, '../docs/images/soak.svg') },
  },
})
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error('--minutes is a number above 0')

const scope = createScope()
try {
  const site = await startSoakSite(scope, { by: ['env', ...values.env] })
  const over = new AbortController()
  const measuring = measure(site, over.signal)
  const clients = startClients(site, over.signal)
  const troubles = startTroubles(site, over.signal)
  await Promise.race([delay(minutes * 60_000), site.gateway.program.ended])
  over.abort()
  const samples = await measuring
  const { counts, violations } = await clients
  await troubles
  const code = await site.gateway.program.stop()
  if (code !== 0) violations.push(`the gateway has ended with ${code}`)

  const points = pointsOf(samples, minutes)
  const verdicts = judge(points)
  writeFileSync(values.svg, drawSoak(points, verdicts, minutes))
  print(`${minutes} minutes: ${JSON.stringify(counts)}`)
  for (const { name, text, isSteady } of verdicts) {
    print(`${isSteady ? 'steady ' : 'GROWING'}  ${name}: ${text}`)
  }
  for (const violation of violations) print(`WRONG    ${violation}`)
  const holds = violations.length === 0 && verdicts.every(({ isSteady }) => isSteady)
  print(`${holds ? 'HOLDS' : 'DOES NOT HOLD'}; drawn in ${values.svg}`)
  process.exitCode = holds ? 0 : 1
} finally {
  await scope.end()
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
