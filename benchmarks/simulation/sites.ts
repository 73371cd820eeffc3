// Sites and their region in the model: who asks whom, and by what way.
import type { Figures, StoreRequests } from './figures.ts'
import {
  createGateway,
  createOrigin,
  createWork,
  type GatewayCosts,
  type Part,
  type Source,
  type Way,
} from './gateway.ts'
import type { Network, Resource } from './network.ts'
import type { Load, Scenario, World } from './scenarios.ts'

/** What a scenario is made of while it runs. */
export interface Stage {
  network: Network
  world: World
  figures: Figures
  upstream: Source
}

export interface Place {
  nodes: number
  link: Resource
  /** Whom the nodes ask, and how they are reached from there. */
  source: Source
  way: Way
  /** What a new connection costs. */
  connect: (done: () => void) => void
  load: () => Load | undefined
}

export interface Region {
  /** Whom the gateway of a site asks. */
  replicaOf: (site: number) => Source
  loads: () => Load[]
  storeRequests: () => { gets: number; puts: number }
}

/** TCP and TLS 1.3. */
const connectTrips = 2
/** From which size on content is written to the store in parts, and how large these are, bytes. */
const partsAbove = 64 * 2 ** 20
const partBytes = 16 * 2 ** 20

export function costsOf({ gateway }: Figures): GatewayCosts {
  const { request, coldObject, coldBlob, warm, follow, cold } = gateway
  return {
    request: request.median,
    coldObject: Math.max(0, coldObject.median - request.median),
    coldBlob: coldBlob.median,
    warm: warm.median,
    follow: follow.median,
    receive: Math.max(0, cold.median - follow.median),
  }
}

export function createSite(
  stage: Stage,
  kind: Scenario['kind'],
  { index, nodes, region }: { index: number; nodes: number; region: Region | undefined },
): Place {
  const { network, world, upstream } = stage
  const link = { name: `link ${index}`, capacity: world.siteLink }
  const outside: Way = { uses: [{ resource: link, perByte: 1 }], roundTrip: world.siteRoundTrip }
  const place = { nodes, link }
  const wait = (seconds: number) => (done: () => void) => network.after(seconds, done)
  if (kind === 'direct') {
    const connect = wait(connectTrips * world.siteRoundTrip)
    return { ...place, source: upstream, way: outside, connect, load: () => undefined }
  }
  const from = { source: region?.replicaOf(index) ?? upstream, way: outside }
  if (kind === 'peers') {
    const shared = world.lan * world.peerShare
    const swarm = { name: `peers ${index}`, capacity: shared * nodes }
    const source = createGateway(network, {
      name: `peers ${index}`,
      processors: [],
      out: [{ resource: swarm, perByte: 1 }],
      into: [],
      costs: { request: 0, coldObject: 0, coldBlob: 0, warm: 0, follow: 0, receive: 0 },
      from: () => from,
    })
    const connect = wait(world.peerDelay)
    const way = inside(world, shared)
    return { ...place, source, way, connect, load: () => undefined }
  }
  const { source, processor } = addGateway(stage, `site ${index}`, world.gatewayLink, () => from)
  const handshake = createWork(network, [processor], stage.figures.gateway.handshake.median)
  return {
    ...place,
    source,
    way: inside(world, world.lan),
    connect: (done) => network.after(connectTrips * world.lanRoundTrip, () => handshake(1, done)),
    load: () => loadOf(network, source, processor),
  }
}

/** A node's connection is shared by what it asks for at once. */
function inside(world: World, rate: number): Way {
  return { uses: [], roundTrip: world.lanRoundTrip, mostRate: rate / world.layersAtOnce }
}

export function createRegion(stage: Stage, scenario: Scenario): Region {
  const { network, world, figures, upstream } = stage
  const { replicas: count = 1, store } = scenario
  const link = { name: 'region', capacity: world.regionLink }
  const outside: Way = { uses: [{ resource: link, perByte: 1 }], roundTrip: world.regionRoundTrip }
  const near: Way = { uses: [], roundTrip: world.lanRoundTrip }
  const storage = createOrigin(network, { name: 'store', uses: [] })
  const replicas: Machine[] = Array.from({ length: count }, (_, self) =>
    addGateway(stage, `replica ${self + 1}`, world.replicaLink, (part) => {
      if (store === 'full') return { source: storage, way: near }
      const owner = world.image.indexOf(part) % count
      const asked = owner === self ? undefined : replicas[owner]
      return asked === undefined
        ? { source: upstream, way: outside }
        : { source: asked.source, way: near }
    }),
  )
  return {
    replicaOf: (site) => replicas[site % count]?.source ?? upstream,
    loads: () => replicas.map(({ source, processor }) => loadOf(network, source, processor)),
    storeRequests: () => requestsOf(figures.store, store, count, world.image),
  }
}

interface Machine {
  source: Source
  processor: Resource
}

function addGateway(
  { network, figures }: Stage,
  name: string,
  connection: number,
  from: (part: Part) => { source: Source; way: Way },
): Machine {
  const processor = { name: `${name}, processor`, capacity: 1 }
  const disk = { name: `${name}, disk`, capacity: figures.disk.median }
  const port = { name: `${name}, connection`, capacity: connection }
  const source = createGateway(network, {
    name,
    processors: [processor],
    out: [{ resource: port, perByte: 1 }],
    into: [{ resource: disk, perByte: 1 }],
    costs: costsOf(figures),
    from,
  })
  return { source, processor }
}

function loadOf(network: Network, { name, sent }: Source, processor: Resource): Load {
  return { name, ...sent, cpuSeconds: network.used(processor) }
}

/** As counted for three replicas, and the parts in which large content is written. */
function requestsOf(
  counted: StoreRequests,
  store: Scenario['store'],
  replicas: number,
  image: readonly Part[],
): { gets: number; puts: number } {
  if (store === undefined) return { gets: 0, puts: 0 }
  const [one, others] =
    store === 'empty'
      ? [counted.first, counted.others]
      : [counted.restored, counted.restoredByOthers]
  const sum = (methods: readonly string[]) =>
    methods.reduce(
      (total, method) => total + (one[method] ?? 0) + ((others[method] ?? 0) * (replicas - 1)) / 2,
      0,
    )
  const inParts = store === 'empty' ? image.filter(({ bytes }) => bytes > partsAbove) : []
  const parts = inParts.reduce((total, { bytes }) => total + Math.ceil(bytes / partBytes) + 1, 0)
  return { gets: sum(['Get', 'Head']), puts: sum(['Put', 'Copy', 'List']) + parts }
}
