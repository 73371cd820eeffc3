// Rolls one image out to all nodes of all sites in the model: what that takes, and how long.
import type { Figures } from './figures.ts'
import { createOrigin, type Sent } from './gateway.ts'
import { createNetwork } from './network.ts'
import type { Load, Scenario, World } from './scenarios.ts'
import { createRegion, createSite, type Place, type Stage } from './sites.ts'

export interface Outcome {
  /** When each node had all of it, seconds since the first may begin, in order. */
  times: number[]
  /** What the upstream was asked for, and has sent. */
  upstream: Sent
  /** Over the links of all sites. */
  linkBytes: number
  /** Of the region. */
  replicas: Load[]
  /** The gateway of the largest site. */
  largest: Load | undefined
  store: { gets: number; puts: number }
}

export function rollOut(scenario: Scenario, figures: Figures, given: World): Outcome {
  const world = { ...given, ...scenario.world }
  const network = createNetwork()
  const upstream = createOrigin(network, { name: 'upstream', uses: [] })
  const stage: Stage = { network, world, figures, upstream }
  const region = scenario.kind === 'region' ? createRegion(stage, scenario) : undefined
  const sites = sizesOf(world).map((nodes, index) =>
    createSite(stage, scenario.kind, { index, nodes, region }),
  )
  const chance = random(world.seed)
  const times: number[] = []
  for (const site of sites) {
    for (let node = 0; node < site.nodes; node += 1) {
      network.after(chance() * world.beginWithin, () => {
        pull(world, site, () => times.push(network.now()))
      })
    }
  }
  network.run()
  return {
    times,
    upstream: upstream.sent,
    linkBytes: sites.reduce((sum, { link }) => sum + network.used(link), 0),
    replicas: region?.loads() ?? [],
    largest: sites.at(-1)?.load(),
    store: region?.storeRequests() ?? { gets: 0, puts: 0 },
  }
}

/** Evenly from the smallest to the largest; of what is over the largest have one each. */
export function sizesOf({ sites, nodes, siteNodes: [least, most] }: World): number[] {
  const sizes = Array.from({ length: sites }, (_, at) =>
    Math.floor(least + ((most - least) * at) / Math.max(1, sites - 1)),
  )
  const over = nodes - sizes.reduce((sum, size) => sum + size, 0)
  if (over < 0 || over > sites) throw new Error('sizes of sites do not come to that many nodes')
  return sizes.map((size, at) => size + Number(at >= sites - over))
}

/** What is small, and then the layers, some at once. */
function pull({ image, layersAtOnce }: World, { source, way, connect }: Place, done: () => void) {
  const [small, ...layers] = image
  const waiting = layers.values()
  let left = layers.length
  const next = () => {
    const { value: layer } = waiting.next()
    if (layer === undefined) return
    source.get(layer, way, () => {
      left -= 1
      if (left === 0) done()
      else next()
    })
  }
  connect(() => {
    if (small === undefined) return
    source.get(small, way, () => {
      for (let n = 0; n < layersAtOnce; n += 1) next()
    })
  })
}

/** Numbers from 0 up to 1 that look like chance, the same each time (mulberry32). */
function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
