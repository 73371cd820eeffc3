// `node test/many.ts [--scale 1] [--only NAME]`: many of each sort, against a gateway of its own each
// time: idle connections, clients of one cold blob, cold blobs, images. Prints each figure beside its
// limit; exit code 1 where one is beyond it. A smaller scale has fewer of them, for a try.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { withScope } from './e2e/lab/scope.ts'
import { coldBlobs } from './many/cold-blobs.ts'
import { idleConnections } from './many/idle-connections.ts'
import { oneBlob } from './many/one-blob.ts'
import { smallImages } from './many/small-images.ts'
import type { Figure, Scenario } from './many/figure.ts'

const scenarios: Record<string, Scenario> = {
  idle: idleConnections,
  'one-blob': oneBlob,
  'cold-blobs': coldBlobs,
  images: smallImages,
}

const { values } = parseArgs({
  options: { scale: { type: 'string', default: '1' }, only: { type: 'string' } },
})
const scale = Number(values.scale)
if (!(scale > 0)) throw new Error('--scale is a number above 0')

// Two descriptors for each connection are in this process and the gateway's.
spawnSync('prlimit', [`--pid=${process.pid}`, '--nofile=65536:65536'])
let isGood = true
for (const [name, run] of Object.entries(scenarios)) {
  if (values.only !== undefined && values.only !== name) continue
  await withScope(async (scope) => {
    for (const figure of await run(scope, scale)) print(name, figure)
  })
}
process.exitCode = isGood ? 0 : 1

function print(name: string, { what, value, limit, unit }: Figure): void {
  const isWithin = limit === undefined || value <= limit
  isGood &&= isWithin
  const bound = limit === undefined ? '' : `, at most ${round(limit)}`
  const word = isWithin ? 'ok    ' : 'BEYOND'
  process.stdout.write(`${word}  ${name}: ${what}: ${round(value)} ${unit}${bound}\n`)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
