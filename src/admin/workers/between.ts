// What the workers of a gateway ask of each other beside content, by their socket files.
import type { RequestListener } from 'node:http'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { askInFolder } from '../control-socket.ts'
import type { Told } from '../status/told.ts'
import type { CrewState } from './crew.ts'
import type { Counted } from './sum.ts'

/** What one does when another asks for it. */
export interface WorkerActs {
  registry: Registry
  reload: () => Promise<boolean>
  log: Logger
  telling: () => Told
}

export interface Others {
  /** How all workers fare; undefined: it is not known yet. */
  crew: () => CrewState | undefined
  /** By their numbers; undefined for one that does not answer. */
  counted: () => Promise<ReadonlyMap<number, Counted | undefined>>
  /** Resolves to whether all of them have taken everything into use. */
  reload: () => Promise<boolean>
  setLevel: (level: string) => Promise<void>
  /** Of each that answers; asked once for all who want to know at the same time. */
  told: () => Promise<Told[]>
}

/** How long they may take to answer, and to reload, ms. */
const patience = { brief: 2000, reload: 30_000 }

/** Answers content by `pull`, and the rest by itself. */
export function answerWorkers(pull: RequestListener, acts: WorkerActs): RequestListener {
  const answers: Record<string, (rest: string) => Promise<unknown>> = {
    metrics: async () => ({ pid: process.pid, metrics: await acts.registry.getMetricsAsJSON() }),
    reload: async () => ({ isTaken: await acts.reload() }),
    log: async (level) => void (acts.log.level = level),
    told: async () => acts.telling(),
  }
  return (req, res) => {
    const [, first = '', act = '', rest = ''] = (req.url ?? '').split('/')
    const answer = first === 'worker' ? answers[act] : undefined
    if (answer === undefined) return pull(req, res)
    answer(rest)
      .then((body) => res.end(JSON.stringify(body ?? {})))
      .catch(() => res.writeHead(500).end())
  }
}

/** @param sockets those of the others, by their numbers: names below the cache folder `dir` */
export function createOthers(
  dir: string,
  sockets: ReadonlyMap<number, string>,
  crew: Others['crew'],
): Others {
  async function ask(name: string, path: string, within: number): Promise<unknown> {
    try {
      const asked = { method: 'GET', path: `/worker/${path}`, patience: within, name }
      const answer = await askInFolder(dir, asked)
      return answer?.status === 200 ? JSON.parse(answer.body) : undefined
    } catch {
      return undefined
    }
  }

  async function askAll(path: string, within: number): Promise<Map<number, unknown>> {
    const asked = [...sockets].map(
      async ([number, name]) => [number, await ask(name, path, within)] as const,
    )
    return new Map(await Promise.all(asked))
  }

  async function told(): Promise<Told[]> {
    const answers = [...(await askAll('told', patience.brief)).values()]
    return answers.filter((answer) => answer !== undefined) as Told[]
  }

  let telling: Promise<Told[]> | undefined
  return {
    crew,
    counted: async () =>
      (await askAll('metrics', patience.brief)) as Map<number, Counted | undefined>,
    async reload() {
      const answers = [...(await askAll('reload', patience.reload)).values()]
      return answers.every(
        (answer) => (answer as { isTaken?: boolean } | undefined)?.isTaken === true,
      )
    },
    told: async () => (telling ??= told().finally(() => (telling = undefined))),
    async setLevel(level) {
      await askAll(`log/${level}`, patience.brief)
    },
  }
}
