// Gateways of the model, and what is behind them: whoever is asked has a content, or fetches it once for all.
import type { Lane, Network, Resource, Use } from './network.ts'

/** A content of an image, or several small ones that are asked for one after the other. */
export interface Part {
  name: string
  bytes: number
  requests: number
}

/** How whoever asks is reached. */
export interface Way {
  /** Of what each of its bytes takes on the way, and where it arrives. */
  uses: readonly Use[]
  /** Seconds that a request waits for the first byte of its answer on the way. */
  roundTrip: number
  /** What a request causes on the way. */
  work?: Work
  /** Bytes a second that one transfer goes at most. */
  mostRate?: number
}

/** Does the same so many times, and calls back. */
export type Work = (times: number, done: () => void) => void

export interface Source {
  name: string
  /** Calls back when the last byte has arrived. A `way` is to be one object for all that come by it. */
  get: (part: Part, way: Way, done: () => void) => void
  sent: Sent
}

export interface Sent {
  requests: number
  bytes: number
}

/** CPU seconds: for each request, each content fetched (small, or not), each byte sent, followed, and received. */
export interface GatewayCosts {
  request: number
  coldObject: number
  coldBlob: number
  warm: number
  follow: number
  receive: number
}

/** Up to here content is small. */
const smallBytes = 64 * 1024
/** A request has its turn among transfers, as one of so many bytes that take as long. */
const turnBytes = 64 * 1024

/** Work that takes seconds of several resources at once, such as a processor and the machine that it is of. */
export function createWork(
  network: Network,
  processors: readonly Resource[],
  seconds: number,
): Work {
  if (seconds === 0) return nothing
  const lane = network.lane(
    processors.map((resource) => ({ resource, perByte: seconds / turnBytes })),
  )
  return (times, done) => lane.send(turnBytes * times, done)
}

const nothing: Work = (_times, done) => done()

/** Has everything. */
export function createOrigin(
  network: Network,
  options: { name: string; uses: readonly Use[]; work?: Work },
): Source {
  const { name, uses, work = nothing } = options
  const sent: Sent = { requests: 0, bytes: 0 }
  const laneOf = lanes(network, uses)
  return {
    name,
    sent,
    get(part, way, done) {
      count(sent, part)
      ask(network, part, way, work, () => laneOf(way).send(part.bytes, done))
    },
  }
}

export interface GatewayOptions {
  name: string
  /** Its processor, and whatever else counts the same seconds, such as the machine that it shares. */
  processors: readonly Resource[]
  /** What each byte takes on its way out, beside the processor, and what each takes that arrives. */
  out: readonly Use[]
  into: readonly Use[]
  costs: GatewayCosts
  /** Where it fetches this part, and how it is reached from there. */
  from: (part: Part) => { source: Source; way: Way }
}

/** Fetches each part once, and keeps it. */
export function createGateway(network: Network, options: GatewayOptions): Source {
  const { name, processors, out, costs, from } = options
  const sent: Sent = { requests: 0, bytes: 0 }
  const held = new Set<string>()
  const waiting = new Map<string, (() => void)[]>()
  const byteCosts = (perByte: number) => processors.map((resource) => ({ resource, perByte }))
  const warm = lanes(network, [...byteCosts(costs.warm), ...out])
  const follow = lanes(network, [...byteCosts(costs.follow), ...out])
  const into = [...byteCosts(costs.receive), ...options.into]
  const answer = createWork(network, processors, costs.request)
  const storeSmall = createWork(network, processors, costs.coldObject)
  const storeBlob = createWork(network, processors, costs.coldBlob)
  const arrivals = new Map<Way, Way>()

  /** The way from a source to here, with what arriving takes. */
  function arrival(way: Way): Way {
    const known = arrivals.get(way)
    if (known !== undefined) return known
    const whole = { ...way, uses: [...into, ...way.uses] }
    arrivals.set(way, whole)
    return whole
  }

  function fetch(part: Part): void {
    const { source, way } = from(part)
    source.get(part, arrival(way), () => {
      const store = part.bytes / part.requests > smallBytes ? storeBlob : storeSmall
      store(part.requests, () => {
        held.add(part.name)
        const all = waiting.get(part.name) ?? []
        waiting.delete(part.name)
        for (const done of all) done()
      })
    })
  }

  /** No sooner than the download, which may be behind what has been sent: both are waited for. */
  function followed(part: Part, way: Way, done: () => void): void {
    let left = 2
    const one = () => {
      left -= 1
      if (left === 0) done()
    }
    const others = waiting.get(part.name)
    if (others === undefined) {
      waiting.set(part.name, [one])
      fetch(part)
    } else others.push(one)
    follow(way).send(part.bytes, one)
  }

  return {
    name,
    sent,
    get(part, way, done) {
      count(sent, part)
      ask(network, part, way, answer, () => {
        if (held.has(part.name)) warm(way).send(part.bytes, done)
        else followed(part, way, done)
      })
    },
  }
}

function count(sent: Sent, { requests, bytes }: Part): void {
  sent.requests += requests
  sent.bytes += bytes
}

/** The time and the work of the requests, before the first byte. */
function ask(
  network: Network,
  { requests }: Part,
  { roundTrip, work: onTheWay = nothing }: Way,
  own: Work,
  done: () => void,
): void {
  const then = () => own(requests, () => onTheWay(requests, done))
  if (roundTrip > 0) network.after(requests * roundTrip, then)
  else then()
}

/** A lane for each way, by which all go that come by it. */
function lanes(network: Network, uses: readonly Use[]): (way: Way) => Lane {
  const made = new Map<Way, Lane>()
  return (way) => {
    const lane = made.get(way) ?? network.lane([...uses, ...way.uses], way.mostRate)
    made.set(way, lane)
    return lane
  }
}
