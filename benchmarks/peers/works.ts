// The work that is the same for everybody: what is asked of a server, and what is measured meanwhile.
import { createFreshImages } from '../lab/cold.ts'
import { addImage, emptyContent, GiB, KiB, MiB } from '../lab/content.ts'
import { memoryBytes } from '../lab/cpu.ts'
import type { Load } from '../lab/load.ts'
import type { Origin } from '../lab/nginx.ts'
import { cpuOf, median } from '../lab/rounds.ts'
import type { Server } from '../lab/server.ts'
import type { SampleContent } from '../../src/demo/sample-image.ts'

export interface Work {
  /** Figures that one round of one server gives, in the order of `names`. */
  names: readonly string[]
  measure: (server: Server, round: number) => Promise<readonly number[]>
}

export interface WarmImages {
  content: SampleContent
  /** Lines of a pull each. */
  image: readonly string[]
  small: readonly string[]
  large: readonly string[]
}

/** Every blob belongs to an image: some caches fetch no other. */
export function makeWarmImages(): WarmImages {
  const content = emptyContent()
  const sizes = [2, 4, 8, 16, 32].map((size) => size * KiB)
  return {
    content,
    image: addImage(content, '1.0', sizes),
    small: addImage(content, '1.1', [40 * KiB]),
    large: addImage(content, '1.2', [256 * MiB]),
  }
}

export function makeWorks(
  load: Load,
  { image, small, large }: WarmImages,
  origin: Origin,
  seconds: number,
): Work[] {
  const warm = (name: string, pull: readonly string[], lines: readonly string[]): Work =>
    warmRequests(load, { name, pull, lines, seconds })
  return [
    warm('warm image pull (9 requests), us CPU', image, image),
    warm('warm manifest, us CPU', image, image.slice(2, 3)),
    warm('warm 40 KiB blob, us CPU', small, small.slice(-1)),
    warmBytes(load, large, seconds),
    coldImage(load, origin),
    tinyImages(load, origin),
    manyClients(load, origin),
    handshakes(load, seconds),
  ]
}

interface WarmOptions {
  name: string
  /** What brings the lines into the cache. */
  pull: readonly string[]
  lines: readonly string[]
  seconds: number
}

function warmRequests(load: Load, { name, pull, lines, seconds }: WarmOptions): Work {
  return {
    names: [name],
    async measure(server, round) {
      if (round === 0) await pullOnce(load, server, pull)
      await load({ kind: 'open', port: server.port, connections: 16 })
      let done = 0
      const cpu = await cpuOf(server, async () => {
        done = (await load({ kind: 'repeat', lines: of(server, lines), seconds })).requests
      })
      await load({ kind: 'close' })
      return [(cpu / done) * 1e6 * lines.length]
    },
  }
}

function warmBytes(load: Load, pull: readonly string[], seconds: number): Work {
  return {
    names: ['warm 256 MiB blob, 8 at once, CPU s/GiB'],
    async measure(server, round) {
      if (round === 0) await pullOnce(load, server, pull)
      await load({ kind: 'open', port: server.port, connections: 8 })
      let bytes = 0
      const cpu = await cpuOf(server, async () => {
        const lines = of(server, pull.slice(-1))
        bytes = (await load({ kind: 'repeat', lines, seconds })).bytes
      })
      await load({ kind: 'close' })
      return [(cpu / bytes) * GiB]
    },
  }
}

/** One after the other: some fail where many ask at once for what they have to fetch. */
async function pullOnce(load: Load, server: Server, pull: readonly string[]): Promise<void> {
  await load({ kind: 'open', port: server.port, connections: 1 })
  await load({ kind: 'pull', images: [of(server, pull)], clients: 1 })
}

function coldImage(load: Load, origin: Origin): Work {
  const images = createFreshImages(origin, 1, [4, 17 * MiB])
  const name = 'cold 68 MiB image, CPU s/GiB'
  return {
    names: [name, '  the same, wall s', '  the same, first byte of a layer, ms'],
    async measure(server, round) {
      const lines = images(round).map((image) => of(server, image))
      await load({ kind: 'open', port: server.port, connections: 4 })
      let told = { seconds: 0, firstBytes: [0], bytes: 0 }
      const cpu = await cpuOf(server, async () => {
        told = await load({ kind: 'pull', images: lines, clients: 1 })
      })
      return [(cpu / told.bytes) * GiB, told.seconds, median(told.firstBytes)]
    },
  }
}

/** Several images, because CPU time is counted in hundredths of a second: of ten one is a tenth of what they cost. */
function tinyImages(load: Load, origin: Origin): Work {
  const count = 40
  const images = createFreshImages(origin, count, [6, 2 * KiB])
  return {
    names: ['cold image of 8 tiny objects, us CPU'],
    async measure(server, round) {
      const lines = images(round).map((image) => of(server, image))
      await load({ kind: 'open', port: server.port, connections: 4 })
      const cpu = await cpuOf(server, () => load({ kind: 'pull', images: lines, clients: 1 }))
      return [(cpu / count) * 1e6]
    },
  }
}

function manyClients(load: Load, origin: Origin): Work {
  const clients = 16
  const images = createFreshImages(origin, 1, [4, 17 * MiB])
  return {
    // The clients are one thread, which takes most of that time: what the server takes of it is beside it.
    names: [`${clients} clients on one cold image, wall s`, '  the same, CPU s'],
    async measure(server, round) {
      const lines = images(round).map((image) => of(server, image))
      await load({ kind: 'open', port: server.port, connections: clients })
      let seconds = 0
      const cpu = await cpuOf(server, async () => {
        seconds = (await load({ kind: 'pull', images: lines, clients })).seconds
      })
      return [seconds, cpu]
    },
  }
}

function handshakes(load: Load, seconds: number): Work {
  return {
    names: ['full mutual handshake, us CPU'],
    async measure(server) {
      let requests = 0
      const cpu = await cpuOf(server, async () => {
        const call = { kind: 'handshakes', port: server.port, seconds, atOnce: 8 } as const
        requests = (await load(call)).requests
      })
      return [(cpu / requests) * 1e6]
    },
  }
}

/** KiB for each of many connections that have just been asking for a manifest. */
export async function memoryPerConnection(
  load: Load,
  server: Server,
  image: readonly string[],
): Promise<number> {
  const [few, many] = [20, 500]
  const inUse = async (connections: number) => {
    await load({ kind: 'open', port: server.port, connections })
    await load({ kind: 'repeat', lines: of(server, image.slice(2, 3)), seconds: 2 })
    const bytes = memoryBytes(server.pid)
    await load({ kind: 'close' })
    return bytes
  }
  const idle = await inUse(few)
  return ((await inUse(many)) - idle) / (many - few) / KiB
}

/** Some have to be told by a query for which upstream a request is. */
function of({ query = '' }: Server, lines: readonly string[]): readonly string[] {
  return lines.map((line) => line + query)
}
