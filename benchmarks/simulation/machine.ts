// The model of a run in which everybody shares the processors of one machine: clients, haproxy, replicas, origin.
import type { Figures } from './figures.ts'
import {
  createGateway,
  createOrigin,
  createWork,
  type Part,
  type Source,
  type Way,
} from './gateway.ts'
import { createNetwork, type Resource } from './network.ts'
import { costsOf } from './sites.ts'

/** Seconds that passed, and CPU seconds of each. */
export interface Spent {
  seconds: number
  gateways: number
  client: number
  balancer: number
  origin: number
}

export interface MachineRun {
  images: number
  clients: number
  /** Bytes of the layers of each image. */
  layers: readonly number[]
  /** What there is of the machine. */
  cores: number
}

/** Index, manifest and config of an image, and its tag. */
const smallParts = 4
const smallBytes = 1500
const replicaCount = 3

export function simulateMachine(figures: Figures, run: MachineRun): Spent {
  const network = createNetwork()
  const idle = replicaCount * figures.gateway.idle.median
  const cores = { name: 'cores', capacity: run.cores - idle }
  const program = (name: string): Resource => ({ name, capacity: 1 })
  const [client, balancer, origin] = [program('client'), program('balancer'), program('origin')]
  const byBoth = (program: Resource, perByte: number) =>
    [program, cores].map((resource) => ({ resource, perByte }))
  const upstream = createOrigin(network, {
    name: 'origin',
    uses: byBoth(origin, figures.origin.byte.median),
    work: createWork(network, [origin, cores], figures.origin.request.median),
  })
  const parts = partsOf(run)
  const near: Way = { uses: [], roundTrip: 0 }
  const processors = Array.from({ length: replicaCount }, (_, n) => program(`replica ${n}`))
  const replicas: Source[] = processors.map((processor, self) =>
    createGateway(network, {
      name: processor.name,
      processors: [processor, cores],
      out: [],
      into: [],
      costs: costsOf(figures),
      from(part) {
        const owner = parts.indexOf(part) % replicaCount
        return { source: owner === self ? upstream : (replicas[owner] ?? upstream), way: near }
      },
    }),
  )
  const askClient = createWork(network, [client, cores], figures.client.request.median)
  const askBalancer = createWork(network, [balancer, cores], figures.balancer.request.median)
  const way: Way = {
    uses: [
      ...byBoth(client, figures.client.byte.median),
      ...byBoth(balancer, figures.balancer.byte.median),
    ],
    roundTrip: 0,
    work: (times, done) => askClient(times, () => askBalancer(times, done)),
  }
  for (let number = 0; number < run.clients; number += 1) {
    const asked = replicas[number % replicaCount]
    const from = (done: number): void => {
      const part = parts[(number + done) % parts.length]
      if (done < parts.length && part !== undefined) asked?.get(part, way, () => from(done + 1))
    }
    from(0)
  }
  network.run()
  return {
    seconds: network.now(),
    gateways: processors.reduce(
      (sum, processor) => sum + network.used(processor),
      idle * network.now(),
    ),
    client: network.used(client),
    balancer: network.used(balancer),
    origin: network.used(origin),
  }
}

/** What each client asks for, in this order. */
function partsOf({ images, layers }: MachineRun): Part[] {
  return Array.from({ length: images }, () => [
    ...Array.from({ length: smallParts }, () => smallBytes),
    ...layers,
  ])
    .flat()
    .map((bytes, at) => ({ name: `${at}`, bytes, requests: 1 }))
}
