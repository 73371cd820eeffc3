// The world in which one image is rolled out, and the ways of doing it, as data.
import type { Part } from './gateway.ts'

/** Who gives it to the nodes. `peers` is on paper: what others have published, not measured. */
type Kind = 'direct' | 'gateways' | 'region' | 'peers'

export interface Scenario {
  name: string
  kind: Kind
  /** Of a region. */
  replicas?: number
  /** A store that its replicas share: it has nothing yet, or it has all while their disks are empty. */
  store?: 'empty' | 'full'
  /** What is otherwise than in the world of all. */
  world?: Partial<World>
}

/** Rates are in bytes a second, times in seconds. */
export interface World {
  sites: number
  nodes: number
  /** The smallest and the largest site; those between are evenly spread. */
  siteNodes: readonly [number, number]
  siteLink: number
  siteRoundTrip: number
  /** The connection of a node, and of the gateway, within the site. */
  lan: number
  gatewayLink: number
  lanRoundTrip: number
  /** Of each replica toward sites and the other replicas; of the region toward the upstream. */
  replicaLink: number
  regionLink: number
  regionRoundTrip: number
  /** Nodes begin at any time within so many seconds. */
  beginWithin: number
  /** Layers that a node asks for at once. */
  layersAtOnce: number
  /** First what is small, with several requests; then the layers. */
  image: readonly Part[]
  /** Peers: how much of their connection they make use of, and how long it takes to learn of others. */
  peerShare: number
  peerDelay: number
  /** For the times at which nodes begin. */
  seed: number
}

export interface Load {
  name: string
  requests: number
  /** Sent to whoever asked. */
  bytes: number
  cpuSeconds: number
}

const Mbit = 1e6 / 8
const MiB = 2 ** 20
/** 1 GiB. */
const layers = [28, 4, 60, 120, 340, 16, 200, 256]

export const world: World = {
  sites: 200,
  nodes: 10_000,
  siteNodes: [10, 90],
  siteLink: 20 * Mbit,
  siteRoundTrip: 0.05,
  lan: 1000 * Mbit,
  gatewayLink: 1000 * Mbit,
  lanRoundTrip: 0.0005,
  replicaLink: 10_000 * Mbit,
  regionLink: 1000 * Mbit,
  regionRoundTrip: 0.03,
  beginWithin: 60,
  layersAtOnce: 3,
  image: [
    { name: 'index, manifest, config', bytes: 12_000, requests: 4 },
    ...layers.map((size, at) => ({ name: `layer ${at + 1}`, bytes: size * MiB, requests: 1 })),
  ],
  peerShare: 0.5,
  peerDelay: 3,
  seed: 18,
}

export const scenarios: readonly Scenario[] = [
  { name: 'nodes pull directly', kind: 'direct' },
  { name: 'a gateway at each site', kind: 'gateways' },
  {
    name: 'such gateways with 10 Gbit/s',
    kind: 'gateways',
    world: { gatewayLink: 10_000 * Mbit },
  },
  { name: 'gateways, region of 3', kind: 'region', replicas: 3 },
  { name: 'gateways, region with a store', kind: 'region', replicas: 3, store: 'empty' },
  { name: 'its disks empty, its store full', kind: 'region', replicas: 3, store: 'full' },
  { name: 'peer to peer, on paper', kind: 'peers' },
]
