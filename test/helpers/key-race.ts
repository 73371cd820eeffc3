// A thread that opens token keys at the same moment as others do, and tells which it has.
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { pino } from 'pino'
import { openTokenKeys } from '../../src/registry/token/keys.ts'

interface Race {
  folder: string
  /** One for each round: how many threads have come. */
  gates: Int32Array
  rounds: number
  count: number
}

const { folder, gates, rounds, count } = workerData as Race
const log = pino({ level: 'silent' })
const found: (string | undefined)[] = []
for (let round = 0; round < rounds; round += 1) {
  Atomics.add(gates, round, 1)
  while (Atomics.load(gates, round) < count) continue
  const { jwks, source } = openTokenKeys({
    file: join(folder, String(round)),
    rotateEvery: 86_400_000,
    log,
  })
  found.push(jwks().keys[0]?.kid)
  await source.close()
}
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows
parentPort?.postMessage(found)
