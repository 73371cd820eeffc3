// Holds the model against reality: three replicas behind haproxy, 30 clients that each pull every image, all on
// this machine. `node benchmarks/simulation/held-against.ts [--images 10] [--clients 30] [--rounds 3]`.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { formatTable } from '../../src/cli/output/table.ts'
import { addImage, emptyContent, MiB } from '../lab/content.ts'
import { cpuSeconds } from '../lab/cpu.ts'
import { cpuOf, median } from '../lab/rounds.ts'
import { runInScope } from '../../test/e2e/lab/scope.ts'
import type { Server } from '../lab/server.ts'
import { makeSite } from '../lab/site.ts'
import { readFigures } from './figures.ts'
import { simulateMachine, type Spent } from './machine.ts'
import { startRegion } from './region.ts'

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '10' },
    clients: { type: 'string', default: '30' },
    rounds: { type: 'string', default: '3' },
  },
})
const [images, clients, rounds] = [values.images, values.clients, values.rounds].map(Number)
const layers = [MiB, 4 * MiB, 10 * MiB]
/** Images that are pulled before, so that what is measured is no program that has just begun. */
const warmUp = 4

/** One run with empty caches, and what others took of the machine meanwhile, in cores. */
async function run(): Promise<{ spent: Spent; others: number }> {
  return runInScope(async (scope) => {
    const site = await makeSite(scope)
    const content = emptyContent()
    const image = (_: unknown, n: number) => addImage(content, `${n}`, layers)
    const lines = Array.from({ length: warmUp + (images ?? 0) }, image)
    const { origin, replicas, balancer } = await startRegion(scope, site, { name: 'r', content })
    await site.load({ kind: 'open', port: balancer.port, connections: clients ?? 0 })
    const busy = (): Spent => ({
      seconds: performance.now() / 1000,
      gateways: replicas.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0),
      client: cpuSeconds(site.load.pid),
      balancer: cpuSeconds(balancer.pid),
      origin: cpuSeconds(origin.pid),
    })
    const first = lines.splice(0, warmUp).flat()
    await site.load({ kind: 'repeat', lines: first, seconds: 0.1 })
    await settled(replicas)
    const [before, machineBefore] = [busy(), machineSeconds()]
    // Once through all, each connection from another line on.
    await site.load({ kind: 'repeat', lines: lines.flat(), seconds: 0.1 })
    const [after, machineAfter] = [busy(), machineSeconds()]
    const spent = Object.fromEntries(
      Object.entries(after).map(([key, value]) => [key, value - before[key as keyof Spent]]),
    ) as unknown as Spent
    const own = spent.gateways + spent.client + spent.balancer + spent.origin
    const others = Math.max(0, machineAfter - machineBefore - own) / spent.seconds
    return { spent, others }
  })
}

/** Until nothing is left of what came before. */
async function settled(servers: readonly Server[]): Promise<void> {
  for (const server of servers) await cpuOf(server, async () => undefined)
}

/** CPU seconds of everybody on this machine. */
function machineSeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
    /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? ''
  )
    .split(' ')
    .map(Number)
  return (user + nice + system + irq + softirq + steal) / 100
}

const runs: Awaited<ReturnType<typeof run>>[] = []
for (let round = 0; round < (rounds ?? 0); round += 1) {
  runs.push(await run())
  process.stderr.write(`${JSON.stringify(runs.at(-1))}\n`)
}
const others = median(runs.map((one) => one.others))
const predicted = simulateMachine(readFigures(), {
  images: images ?? 0,
  clients: clients ?? 0,
  layers,
  cores: availableParallelism() - others,
})
const rows = (Object.keys(predicted) as (keyof Spent)[]).map((key) => {
  const measured = runs.map(({ spent }) => spent[key])
  const ratio = predicted[key] / median(measured)
  return [
    key === 'seconds' ? 'wall s' : `${key}, CPU s`,
    predicted[key].toFixed(2),
    median(measured).toFixed(2),
    `${Math.min(...measured).toFixed(2)}-${Math.max(...measured).toFixed(2)}`,
    `${ratio.toFixed(2)}x`,
  ]
})
process.stdout.write(
  formatTable(
    [
      { title: `${clients} clients, ${images} images, 3 replicas` },
      { title: 'predicted', right: true },
      { title: 'measured', right: true },
      { title: 'of rounds' },
      { title: 'ratio', right: true },
    ],
    rows,
  ),
)
process.stdout.write(`others took ${others.toFixed(2)} of ${availableParallelism()} cores\n`)
