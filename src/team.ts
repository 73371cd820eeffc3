// One of several processes of a gateway: what it does for all of them, how it asks the others, how it is asked.
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { enterFolder, listenInFolder, type ControlSocket } from './admin/control-socket.ts'
import {
  answerWorkers,
  createOthers,
  type Others,
  type WorkerActs,
} from './admin/workers/between.ts'
import type { CrewState } from './admin/workers/crew.ts'
import type { OpenUpstream } from './oci/origin.ts'
import { createSiblings, type Siblings } from './upstream/workers/siblings.ts'

/** Which of the processes of a gateway this is. */
export interface TeamMember {
  /** From 1; the first one does what one does for all. */
  number: number
  /** Names of the sockets of all of them, below the cache folder, in the order of their numbers. */
  sockets: readonly string[]
  /** How all of them fare, as far as this one has been told. */
  crew?: () => CrewState | undefined
}

export interface Team {
  /** It does what one does for all: admin listener, shelf, imports, verification, order in the cache. */
  leads: boolean
  /** Absent where it is alone. */
  others: Others | undefined
  /** As the upstream is; the process that owns what is wanted is asked first. */
  before: (openUpstream: OpenUpstream) => OpenUpstream
  /** See `Siblings`; absent where it is alone. */
  lookElsewhere: Siblings['look'] | undefined
  /** Answers the others from now on. */
  listen: (pull: RequestListener, acts: WorkerActs) => Promise<void>
  close: () => Promise<void>
}

const alone: Team = {
  leads: true,
  others: undefined,
  before: (openUpstream) => openUpstream,
  lookElsewhere: undefined,
  listen: async () => undefined,
  close: async () => undefined,
}

/** @param member absent: there is one process, which is all of the gateway */
export function joinTeam(member: TeamMember | undefined, dir: string, pseudonym: string): Team {
  if (member === undefined) return alone
  const { number, sockets, crew = () => undefined } = member
  const others = new Map(sockets.map((name, index) => [index + 1, name]))
  others.delete(number)
  let folder: ReturnType<typeof enterFolder> | undefined
  let siblings: Siblings | undefined
  let own: ControlSocket | undefined

  /** Once there is a cache folder. */
  function siblingsNow(): Siblings {
    const entered = (folder ??= enterFolder(dir))
    const paths = sockets.map((name) => join(entered.path, name))
    return (siblings ??= createSiblings({ sockets: paths, self: number, pseudonym }))
  }

  return {
    leads: number === 1,
    others: createOthers(dir, others, crew),
    before: (openUpstream) => {
      let asked: OpenUpstream | undefined
      return (...request) => (asked ??= siblingsNow().before(openUpstream))(...request)
    },
    lookElsewhere: async (...what) => siblingsNow().look(...what),
    async listen(pull, acts) {
      try {
        own = await listenInFolder(dir, answerWorkers(pull, acts), sockets[number - 1])
      } catch (error) {
        // In a folder that cannot be written: then each asks upstreams by itself.
        acts.log.warn({ err: error }, 'the other workers cannot ask this one: see cache.dir')
      }
    },
    async close() {
      await own?.close()
      await siblings?.close()
      folder?.leave()
    },
  }
}
