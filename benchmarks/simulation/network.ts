// Transfers that share links, processors and disks, from event to event: max-min fair, no matter how many.
//
// Transfers of one lane need the same of the same resources, so they go at one rate, and only its progress is
// kept. An event shares anew what it touches: lanes that are tied to it by resources that are full.
import { createHeap, type Heap } from './heap.ts'

/** Something of which there is so much a second: bytes of a link, seconds of a processor. */
export interface Resource {
  name: string
  /** Units a second. */
  capacity: number
}

/** What one byte of a transfer takes of a resource, in its units. */
export interface Use {
  resource: Resource
  perByte: number
}

export interface Lane {
  /** Moves so many bytes beside whatever else is under way; calls back when the last one is there. */
  send: (bytes: number, done: () => void) => void
}

export interface Network {
  /** Seconds since the beginning. */
  now: () => number
  after: (seconds: number, done: () => void) => void
  /** @param mostRate bytes a second that one transfer goes at most */
  lane: (uses: readonly Use[], mostRate?: number) => Lane
  /** Until nothing is left to be done. */
  run: () => void
  /** Units that have been used of a resource so far. */
  used: (resource: Resource) => number
}

interface Shared {
  capacity: number
  used: number
  /** Units a second that are in use. */
  load: number
  isFull: boolean
  /** Those with transfers under way. */
  lanes: Set<Flow>
}

interface Flow {
  /** Each resource once. */
  uses: readonly { shared: Shared; perByte: number }[]
  mostRate: number
  /** Bytes a second of each transfer, and of all as they are counted in the loads. */
  rate: number
  loaded: number
  /** Bytes that a transfer has moved which was there from the beginning. */
  progress: number
  settledAt: number
  /** Transfers under way, by the progress at which they end. */
  ends: Heap<() => void>
  /** When it is looked at next; Infinity: never. */
  wakesAt: number
}

/** Of a byte, of a capacity, and of a second: less is the arithmetic. */
const nearly = 1e-6

export function createNetwork(): Network {
  const events = createHeap<() => void>()
  const resources = new Map<Resource, Shared>()
  const changed = new Set<Flow>()
  let now = 0

  function sharedOf(resource: Resource): Shared {
    const { capacity } = resource
    const known = resources.get(resource)
    const shared = known ?? { capacity, used: 0, load: 0, isFull: false, lanes: new Set<Flow>() }
    resources.set(resource, shared)
    return shared
  }

  /** Brings what a lane has done up to now. */
  function settle(flow: Flow): void {
    const moved = flow.rate * (now - flow.settledAt)
    flow.settledAt = now
    if (moved === 0) return
    flow.progress += moved
    for (const { shared, perByte } of flow.uses) {
      shared.used += moved * flow.ends.size() * perByte
    }
  }

  /** Its first transfers are over. */
  function finish(flow: Flow, progress: number): void {
    settle(flow)
    flow.progress = progress
    changed.add(flow)
    while ((flow.ends.first()?.at ?? Infinity) <= progress + nearly) flow.ends.pop()?.item()
    if (flow.ends.size() > 0) return
    for (const { shared } of flow.uses) shared.lanes.delete(flow)
    flow.progress = 0
  }

  /** One that ends later than it was to is looked at all the same, and then once more. */
  function schedule(flow: Flow): void {
    const end = flow.ends.first()
    if (end === undefined) return
    const at = flow.settledAt + Math.max(0, end.at - flow.progress) / flow.rate
    if (at >= flow.wakesAt) return
    flow.wakesAt = at
    events.push(at, () => {
      if (flow.wakesAt !== at) return
      flow.wakesAt = Infinity
      const first = flow.ends.first()
      if (first === undefined) return
      const left = first.at - flow.progress - flow.rate * (now - flow.settledAt)
      if (left / flow.rate <= nearly * nearly * now || left <= nearly) finish(flow, first.at)
      else schedule(flow)
    })
  }

  return {
    now: () => now,
    after: (seconds, done) => events.push(now + seconds, done),
    lane(uses, mostRate = Infinity) {
      const perByte = new Map<Shared, number>()
      for (const { resource, perByte: units } of uses) {
        const shared = sharedOf(resource)
        perByte.set(shared, (perByte.get(shared) ?? 0) + units)
      }
      const flow: Flow = {
        uses: [...perByte].map(([shared, units]) => ({ shared, perByte: units })),
        mostRate,
        rate: 0,
        loaded: 0,
        progress: 0,
        settledAt: 0,
        ends: createHeap(),
        wakesAt: Infinity,
      }
      return {
        send(bytes, done) {
          settle(flow)
          flow.ends.push(flow.progress + bytes, done)
          for (const { shared } of flow.uses) shared.lanes.add(flow)
          changed.add(flow)
        },
      }
    },
    run() {
      for (;;) {
        for (const flow of changed.size > 0 ? shareBetween(changed, settle) : []) schedule(flow)
        changed.clear()
        const next = events.pop()
        if (next === undefined) return
        now = Math.max(now, next.at)
        next.item()
        // All of one moment are shared between once.
        while (changed.size > 0 && events.first()?.at === now) events.pop()?.item()
      }
    },
    used: (resource) => resources.get(resource)?.used ?? 0,
  }
}

/**
 * Gives every lane that `changed` touches its rate: returns those that were given one. Begins with as
 * few as can be, and takes in those on the other side of a resource only where they need more of it than there is.
 */
function shareBetween(changed: ReadonlySet<Flow>, settle: (flow: Flow) => void): Set<Flow> {
  const flows = new Set<Flow>()
  /** How many of its lanes are among those. */
  const touched = new Map<Shared, number>()
  const include = (flow: Flow) => {
    if (flows.has(flow)) return
    flows.add(flow)
    settle(flow)
    const isBusy = flow.ends.size() > 0
    for (const { shared } of flow.uses) {
      touched.set(shared, (touched.get(shared) ?? 0) + Number(isBusy))
      if (shared.isFull) shared.lanes.forEach(include)
    }
  }
  changed.forEach(include)
  for (;;) {
    const among = new Map<Shared, number>()
    for (const [shared, lanes] of touched) {
      if (lanes === shared.lanes.size) among.set(shared, shared.capacity)
    }
    fill(flows, among)
    for (const flow of flows) countLoad(flow)
    let over: Shared | undefined
    for (const shared of touched.keys()) {
      if (among.has(shared) || shared.load <= shared.capacity * (1 + nearly)) continue
      // The smallest first: the others may be well then.
      if (over === undefined || shared.lanes.size < over.lanes.size) over = shared
    }
    if (over === undefined) break
    over.lanes.forEach(include)
  }
  for (const shared of touched.keys()) {
    shared.isFull = shared.load > shared.capacity * (1 - nearly)
  }
  return flows
}

function countLoad(flow: Flow): void {
  const loaded = flow.rate * flow.ends.size()
  for (const { shared, perByte } of flow.uses) {
    shared.load = shared.lanes.size === 0 ? 0 : shared.load + (loaded - flow.loaded) * perByte
  }
  flow.loaded = loaded
}

/**
 * All rates rise together; whoever meets a resource that is full, or its own limit, stays there.
 * @param left what there is of the resources that only `flows` use
 */
function fill(flows: ReadonlySet<Flow>, left: Map<Shared, number>): void {
  const rising = new Map<Flow, number>()
  for (const flow of flows) if (flow.ends.size() > 0) rising.set(flow, mostOf(flow))
  while (rising.size > 0) {
    const weights = new Map<Shared, number>()
    let level = Infinity
    for (const [{ uses, ends }, most] of rising) {
      level = Math.min(level, most)
      for (const { shared, perByte } of uses) {
        if (!left.has(shared)) continue
        weights.set(shared, (weights.get(shared) ?? 0) + perByte * ends.size())
      }
    }
    const levels = new Map<Shared, number>()
    for (const [shared, weight] of weights) levels.set(shared, (left.get(shared) ?? 0) / weight)
    for (const one of levels.values()) level = Math.min(level, one)
    const reached = level * (1 + nearly)
    for (const [flow, most] of rising) {
      const isFull = ({ shared }: Flow['uses'][number]) =>
        (levels.get(shared) ?? Infinity) <= reached
      if (most > reached && !flow.uses.some(isFull)) continue
      flow.rate = Math.max(level, Number.MIN_VALUE)
      rising.delete(flow)
      for (const { shared, perByte } of flow.uses) {
        const before = left.get(shared)
        if (before === undefined) continue
        left.set(shared, Math.max(0, before - level * perByte * flow.ends.size()))
      }
    }
  }
}

/** What each of its transfers has at most: where nobody else is on its way. */
function mostOf({ uses, ends, mostRate }: Flow): number {
  let most = mostRate
  for (const { shared, perByte } of uses) {
    most = Math.min(most, shared.capacity / (perByte * ends.size()))
  }
  return most
}
