// Transfers of the simulation: what can be calculated by hand, and the same as a reckoning without any skill.
import { assert, property, array, integer, record, uniqueArray } from 'fast-check'
import t, { type Test } from 'tap'
import { createHeap } from '../../benchmarks/simulation/heap.ts'
import {
  createNetwork,
  type Network,
  type Resource,
  type Use,
} from '../../benchmarks/simulation/network.ts'

interface Sending {
  at: number
  bytes: number
  uses: readonly Use[]
  mostRate: number
}

const over = (...resources: Resource[]): Use[] =>
  resources.map((resource) => ({ resource, perByte: 1 }))

/** When each is over; those of the same uses go by one lane. */
function ends(sendings: readonly Sending[]): { ends: number[]; network: Network } {
  const network = createNetwork()
  const lanes = new Map<unknown, ReturnType<Network['lane']>>()
  const ended = sendings.map(() => NaN)
  for (const [index, { at, bytes, uses, mostRate }] of sendings.entries()) {
    const lane = lanes.get(uses) ?? network.lane(uses, mostRate)
    lanes.set(uses, lane)
    network.after(at, () => lane.send(bytes, () => (ended[index] = network.now())))
  }
  network.run()
  return { ends: ended, network }
}

const sending = (at: number, bytes: number, uses: readonly Use[]): Sending => ({
  at,
  bytes,
  uses,
  mostRate: Infinity,
})

t.test('a heap gives what is least, and what came first of what is equal', async (t) => {
  assert(
    property(array(integer({ min: 0, max: 20 })), (numbers) => {
      const heap = createHeap<number>()
      numbers.forEach((number, turn) => heap.push(number, turn))
      const taken = Array.from({ length: heap.size() }, () => heap.pop())
      const wanted = numbers
        .map((at, item) => ({ at, item }))
        .toSorted((a, b) => a.at - b.at || a.item - b.item)
      t.strictSame(
        taken.map((entry) => ({ at: entry?.at, item: entry?.item })),
        wanted,
      )
    }),
  )
})

t.test('many on one link take as long as one after the other', async (t) => {
  const link = { name: 'link', capacity: 50 }
  const uses = over(link)
  const { ends: all, network } = ends(Array.from({ length: 20 }, () => sending(0, 100, uses)))
  for (const end of all) close(t, end, 40)
  close(t, network.used(link), 2000)
})

t.test('a link is shared by halves, also with who comes later', async (t) => {
  const uses = over({ name: 'link', capacity: 10 })
  const { ends: both } = ends([sending(0, 100, uses), sending(0, 200, uses)])
  close(t, both[0], 20)
  close(t, both[1], 30)
  const { ends: later } = ends([sending(0, 100, uses), sending(4, 100, uses)])
  close(t, later[0], 16)
  close(t, later[1], 20)
})

t.test('what one leaves over goes to the others', async (t) => {
  const [narrow, wide] = [
    { name: 'narrow', capacity: 1 },
    { name: 'wide', capacity: 2 },
  ]
  // One half each on the narrow link; the wide one has three halves left.
  const { ends: all } = ends([
    sending(0, 50, over(narrow)),
    sending(0, 50, over(narrow, wide)),
    sending(0, 150, over(wide)),
  ])
  for (const end of all) close(t, end, 100)
  const slow = { ...sending(0, 100, over(wide)), mostRate: 0.5 }
  const { ends: limited } = ends([slow, sending(0, 150, over(wide))])
  close(t, limited[0], 200)
  close(t, limited[1], 100)
})

t.test('a processor: seconds for each byte, and twice for what counts on it twice', async (t) => {
  const processor = { name: 'processor', capacity: 2 }
  const uses = [
    { resource: processor, perByte: 0.5 },
    { resource: processor, perByte: 1.5 },
  ]
  const { ends: all, network } = ends([sending(0, 10, uses)])
  close(t, all[0], 10)
  close(t, network.used(processor), 20)
})

t.test('any network does as one that is reckoned as a whole at each event', async (t) => {
  const resources = integer({ min: 1, max: 9 })
  const lane = record({
    over: uniqueArray(integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 3 }),
    mostRate: integer({ min: 1, max: 9 }),
  })
  const sent = record({
    at: integer({ min: 0, max: 30 }),
    bytes: integer({ min: 1, max: 60 }),
    lane: integer({ min: 0, max: 5 }),
  })
  assert(
    property(
      array(resources, { minLength: 5, maxLength: 5 }),
      array(lane, { minLength: 6, maxLength: 6 }),
      array(sent, { minLength: 1, maxLength: 25 }),
      (capacities, lanes, sents) => {
        const all = capacities.map((capacity, n) => ({ name: `${n}`, capacity }))
        const ways = lanes.map(({ over, mostRate }) => ({
          mostRate,
          uses: over.flatMap((n) => {
            const resource = all[n]
            return resource === undefined ? [] : [{ resource, perByte: 1 + n }]
          }),
        }))
        const sendings = sents.flatMap(({ at, bytes, lane }) => {
          const way = ways[lane]
          return way === undefined ? [] : [{ at, bytes, ...way }]
        })
        const { ends: found, network } = ends(sendings)
        const wanted = reckoned(sendings)
        for (const [index, end] of wanted.entries()) close(t, found[index], end, 1e-4)
        for (const resource of all) {
          const units = sendings.flatMap(({ bytes, uses }) =>
            uses.filter((use) => use.resource === resource).map(({ perByte }) => bytes * perByte),
          )
          const sum = units.reduce((total, one) => total + one, 0)
          close(t, network.used(resource), sum, 1e-4)
        }
      },
    ),
    { numRuns: 300 },
  )
})

/** Every rate anew at each event, and nothing kept. */
function reckoned(sendings: readonly Sending[]): number[] {
  const open = sendings.map((one) => ({ ...one, left: one.bytes, end: NaN, rate: 0 }))
  for (let now = 0; ;) {
    const active = open.filter(({ at, left }) => at <= now && left > 0)
    const coming = open.filter(({ at }) => at > now).map(({ at }) => at - now)
    if (active.length === 0 && coming.length === 0) return open.map(({ end }) => end)
    share(active)
    const step = Math.min(...coming, ...active.map(({ left, rate }) => left / rate))
    now += step
    for (const one of active) {
      one.left -= one.rate * step
      if (one.left < 1e-9) Object.assign(one, { left: 0, end: now })
    }
  }
}

function share(active: (Sending & { rate: number })[]): void {
  const resources = new Set(active.flatMap(({ uses }) => uses.map(({ resource }) => resource)))
  const fixed = new Set<Sending>()
  const perByte = ({ uses }: Sending, resource: Resource) =>
    uses.find((use) => use.resource === resource)?.perByte ?? 0
  while (fixed.size < active.length) {
    const rising = active.filter((one) => !fixed.has(one))
    const levels = new Map<Resource, number>()
    for (const resource of resources) {
      const weight = rising.reduce((sum, one) => sum + perByte(one, resource), 0)
      const taken = active
        .filter((one) => fixed.has(one))
        .reduce((sum, one) => sum + one.rate * perByte(one, resource), 0)
      if (weight > 0) levels.set(resource, (resource.capacity - taken) / weight)
    }
    const level = Math.min(...levels.values(), ...rising.map(({ mostRate }) => mostRate))
    const isFull = (resource: Resource) => (levels.get(resource) ?? Infinity) <= level + 1e-9
    for (const one of rising) {
      const isLimited = one.uses.some(({ resource }) => isFull(resource))
      if (one.mostRate > level + 1e-9 && !isLimited) continue
      one.rate = level
      fixed.add(one)
    }
  }
}

function close(t: Pick<Test, 'equal'>, found: unknown, wanted: number, by = 1e-6) {
  const isClose = typeof found === 'number' && Math.abs(found - wanted) <= by * Math.max(1, wanted)
  if (!isClose) t.equal(found, wanted)
}
