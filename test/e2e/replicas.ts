// Three replicas behind haproxy, nginx and docker-registry behind them, a store that they share, and many
// clients that pull with certificates and check every digest, while replicas are killed and the store ails.
// `node test/e2e/replicas.ts --images 200 --pullers 30 --seconds 120` prints what came of it, line by line;
// `--kill-every 0` without kills, `--steady-store` with a store that does not ail.
import { parseArgs } from 'node:util'
import { withObjectStore } from '../helpers/object-store.ts'
import { withScope } from './lab/scope.ts'
import { pullByEngines, type EngineTally } from './replicas/engines.ts'
import { countFetches, type Fetches } from './replicas/fetches.ts'
import { lookAtStore, type StoreOutcome } from './replicas/outcome.ts'
import { createPuller, createTally, type Tally } from './replicas/puller.ts'
import { startRegion, type Bench } from './replicas/region.ts'
import { printShow } from './replicas/show.ts'
import { makeTrouble, type Kill } from './replicas/troubles.ts'

export interface ReplicaOptions {
  images: number
  pullers: number
  /** How often one is killed, ms; 0: none is. */
  killEvery: number
  /** How long is pulled at least; at least every image once. */
  seconds: number
  hasStore?: boolean
  /** Whether the store ails meanwhile. */
  storeAils?: boolean
  hasEngines?: boolean
}

export interface ReplicaOutcome extends Tally {
  kills: Kill[]
  /** How many digests all images have. */
  digests: number
  fetches: Fetches
  store: StoreOutcome | undefined
  engines: EngineTally | undefined
}

export async function pullThroughReplicas(
  t: Bench,
  options: ReplicaOptions,
): Promise<ReplicaOutcome> {
  const { images, pullers, killEvery, seconds } = options
  const { hasStore = false, storeAils: ails = hasStore, hasEngines = false } = options
  const region = await startRegion(t, { images, hasStore })
  const tally = createTally()
  const over = new AbortController()
  const until = Date.now() + seconds * 1000
  const pullAll = async (): Promise<EngineTally | undefined> => {
    const engines = hasEngines ? pullByEngines(region, until) : undefined
    await Promise.all([
      engines,
      ...Array.from({ length: pullers }, async (_, at) => {
        const puller = createPuller(region.lab, region.port, tally)
        for (let round = 0; round < images || Date.now() < until; round += 1) {
          await puller.pull(region.images[(round + at * 7) % images]?.repository ?? '')
        }
        puller.close()
      }),
    ])
    over.abort()
    return engines
  }
  const [kills, pulledByEngines] = await Promise.all([
    makeTrouble({ region, killEvery, ails, seconds, over: over.signal }),
    pullAll(),
  ])
  const fetches = await countFetches(region, kills)
  const store = await lookAtStore(t, region, tally)
  return {
    ...tally,
    kills,
    digests: region.digests.length,
    fetches,
    store,
    engines: pulledByEngines,
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      images: { type: 'string', default: '200' },
      pullers: { type: 'string', default: '30' },
      seconds: { type: 'string', default: '120' },
      'kill-every': { type: 'string', default: '5' },
      'steady-store': { type: 'boolean', default: false },
      'without-store': { type: 'boolean', default: false },
      'without-engines': { type: 'boolean', default: false },
    },
  })
  const hasStore = !values['without-store']
  const { skip } = withObjectStore()
  if (hasStore && skip !== undefined) throw new Error(`${skip}, or say --without-store`)
  const options = {
    images: Number(values.images),
    pullers: Number(values.pullers),
    seconds: Number(values.seconds),
    killEvery: Number(values['kill-every']) * 1000,
    hasStore,
    storeAils: hasStore && !values['steady-store'],
    hasEngines: !values['without-engines'],
  }
  const outcome = await withScope(async (scope) => pullThroughReplicas(scope, options))
  process.exitCode = printShow(outcome, options) ? 0 : 1
}
