// How often is the store asked for one image? Counted in its own access log.
import { setTimeout as delay } from 'node:timers/promises'
import { addImage, emptyContent, MiB } from '../lab/content.ts'
import type { Line } from '../lab/client.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import { makeSite, type Site } from '../lab/site.ts'
import type { StoreRequests } from './figures.ts'
import { startRegion, startReplicas, startStore, type RealStore, type Region } from './region.ts'

/** Eight layers above 1 MiB; beside them index, manifest and config. */
const layers = Array.from({ length: 8 }, () => 2 * MiB)

export async function countStoreRequests(scope: Scope): Promise<StoreRequests | undefined> {
  const site = await makeSite(scope)
  const store = await startStore(scope, site)
  if (store === undefined) return undefined
  const content = emptyContent()
  const lines = addImage(content, '1.0', layers)
  const region = await startRegion(scope, site, { name: 'first', content, store })
  await settled(store)
  const [first, others] = await pullThroughAll(site, store, region, lines)
  for (const { stop } of region.replicas) await stop()
  await region.origin.stop()
  const emptied = await startReplicas(scope, site, {
    name: 'restored',
    originPort: region.origin.port,
    store,
  })
  await settled(store)
  const [restored, restoredByOthers] = await pullThroughAll(site, store, emptied, lines)
  return { objects: layers.length + 3, first, others, restored, restoredByOthers }
}

/** Through one replica, and then through the other two. */
async function pullThroughAll(
  { load }: Site,
  store: RealStore,
  { replicas }: Pick<Region, 'replicas'>,
  lines: readonly Line[],
) {
  const counts: Record<string, number>[] = []
  for (const some of [replicas.slice(0, 1), replicas.slice(1)]) {
    for (const { port } of some) {
      await load({ kind: 'open', port, connections: 1 })
      await load({ kind: 'once', lines })
    }
    counts.push(await settled(store))
  }
  await load({ kind: 'close' })
  const [one = {}, others = {}] = counts
  return [one, others] as const
}

/** The requests until two seconds have passed without any. */
async function settled({ requests }: RealStore): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (let quiet = 0; quiet < 4; quiet += 1) {
    await delay(500)
    const fresh = Object.entries(requests())
    if (fresh.length > 0) quiet = 0
    for (const [method, count] of fresh) counts[method] = (counts[method] ?? 0) + count
  }
  return counts
}
