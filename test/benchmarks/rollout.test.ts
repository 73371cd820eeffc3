// The simulated rollout: no byte too many or too few, and times that can be calculated by hand.
import t from 'tap'
import type { Figure, Figures } from '../../benchmarks/simulation/figures.ts'
import { rollOut, sizesOf } from '../../benchmarks/simulation/rollout.ts'
import {
  scenarios,
  world,
  type Scenario,
  type World,
} from '../../benchmarks/simulation/scenarios.ts'

const exactly = (median: number): Figure => ({ median, low: median, high: median })
const perGiB = 2 ** -30

const figures: Figures = {
  machine: { date: '', node: '', processor: '', cores: 1, disturbance: 0 },
  gateway: {
    handshake: exactly(0.002),
    request: exactly(0.0001),
    coldObject: exactly(0.002),
    coldBlob: exactly(0.005),
    idle: exactly(0.01),
    warm: exactly(perGiB),
    follow: exactly(perGiB),
    cold: exactly(6 * perGiB),
    memory: exactly(2e8),
    transferMemory: exactly(3e5),
  },
  client: { request: exactly(0), byte: exactly(0) },
  balancer: { request: exactly(0), byte: exactly(0) },
  origin: { request: exactly(0), byte: exactly(0) },
  disk: exactly(1e9),
  store: {
    objects: 11,
    first: { Get: 10, Head: 1, Put: 20 },
    others: { Get: 4 },
    restored: { Get: 30 },
    restoredByOthers: { Get: 60 },
  },
}

const few: World = { ...world, sites: 6, nodes: 60, siteNodes: [4, 16] }
const imageBytes = few.image.reduce((sum, { bytes }) => sum + bytes, 0)
const imageRequests = few.image.reduce((sum, { requests }) => sum + requests, 0)
const scenario = (kind: Scenario['kind'], more: Partial<Scenario> = {}): Scenario => ({
  name: kind,
  kind,
  ...more,
})

t.test('as many nodes as there are, from the smallest site to the largest', async (t) => {
  for (const one of [world, few]) {
    const sizes = sizesOf(one)
    t.equal(
      sizes.reduce((sum, size) => sum + size, 0),
      one.nodes,
    )
    t.same(
      sizes,
      sizes.toSorted((a, b) => a - b),
    )
  }
})

t.test('what the upstream sends: for each node, for each site, or once', async (t) => {
  const cases: [Scenario, times: number][] = [
    [scenario('direct'), few.nodes],
    [scenario('gateways'), few.sites],
    [scenario('peers'), few.sites],
    [scenario('region', { replicas: 3 }), 1],
    [scenario('region', { replicas: 3, store: 'full' }), 0],
  ]
  for (const [one, times] of cases) {
    const { upstream, linkBytes, times: ends } = rollOut(one, figures, few)
    t.equal(upstream.bytes, times * imageBytes, one.name)
    t.equal(upstream.requests, times * imageRequests, one.name)
    t.equal(ends.length, few.nodes, `${one.name}: every node has it`)
    const overLinks = (one.kind === 'direct' ? few.nodes : few.sites) * imageBytes
    t.ok(Math.abs(linkBytes / overLinks - 1) < 1e-6, `${one.name}: over the links`)
  }
})

t.test('replicas: each part is fetched by its owner, and each site served once', async (t) => {
  const { replicas } = rollOut(scenario('region', { replicas: 3 }), figures, few)
  const sent = replicas.reduce((sum, { bytes }) => sum + bytes, 0)
  // To six sites, and each part to the two that do not own it.
  t.equal(sent, (few.sites + 2) * imageBytes)
  const cpu = replicas.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
  const bytes = (few.sites + 2) * imageBytes + 3 * 5 * imageBytes
  const stored = 4 * 0.0019 + 8 * 0.005
  const requests = (few.sites + 2) * imageRequests * 0.0001 + 3 * stored
  t.ok(Math.abs(cpu / (bytes * perGiB + requests) - 1) < 1e-6)
})

t.test('no sooner than the link lets it, and not much later', async (t) => {
  const alone: World = { ...few, sites: 1, nodes: 1, siteNodes: [1, 1], beginWithin: 0 }
  const seconds = imageBytes / alone.siteLink
  for (const kind of ['direct', 'gateways', 'peers'] as const) {
    const [time = NaN] = rollOut(scenario(kind), figures, alone).times
    t.ok(time > seconds && time < seconds * 1.02, `${kind}: ${time}`)
  }
  const { times } = rollOut(scenario('direct'), figures, { ...alone, nodes: 8, siteNodes: [8, 8] })
  t.ok((times.at(-1) ?? NaN) > 8 * seconds && (times.at(-1) ?? NaN) < 8.1 * seconds)
})

t.test(
  'the connection of the gateway limits a large site, and not that of its peers',
  async (t) => {
    const large: World = { ...few, sites: 1, nodes: 100, siteNodes: [100, 100], beginWithin: 0 }
    const byGateway = rollOut(scenario('gateways'), figures, large).times.at(-1) ?? NaN
    const least = (100 * imageBytes) / large.gatewayLink
    t.ok(byGateway > least && byGateway < 1.1 * least, `${byGateway} of ${least}`)
    const byPeers = rollOut(scenario('peers'), figures, large).times.at(-1) ?? NaN
    t.ok(byPeers < 1.05 * (imageBytes / large.siteLink), `${byPeers}`)
  },
)

t.test('requests to the store: as counted, and content above 64 MiB in parts', async (t) => {
  const asked = (more: Partial<Scenario>) =>
    rollOut(scenario('region', { replicas: 3, ...more }), figures, few).store
  t.same(asked({}), { gets: 0, puts: 0 })
  // Layers of 120, 340, 200 and 256 MiB: 8, 22, 13 and 16 parts, and one request more for each of the four.
  t.same(asked({ store: 'empty' }), { gets: 15, puts: 20 + 59 + 4 })
  t.same(asked({ store: 'full' }), { gets: 90, puts: 0 })
})

t.test('the same each time', async (t) => {
  for (const one of scenarios) {
    t.same(rollOut(one, figures, few), rollOut(one, figures, few), one.name)
  }
})
