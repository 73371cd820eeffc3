// The workers of one gateway: each place is filled, and filled again where the process in it ends.
import { relative } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Logger } from 'pino'
import { endsKept, type CrewState } from '../../admin/workers/crew.ts'
import { foldersIn, newTemporary, removeFilesOf } from '../../cache/disk/folder.ts'
import type { Config } from '../../config/schema.ts'
import { startWorker, type ReadyWorker, type WorkerProcess } from './process.ts'

export interface Crew {
  /** Starts the first one, which makes what is not there yet, then the others. Resolves once all serve. */
  begin: () => Promise<undefined>
  /** Resolves, with an exit code, where there is no use in going on. */
  hasFailed: Promise<{ code: number }>
  /** That of the first one; undefined until it serves. */
  adminPort: () => number | undefined
  reload: () => void
  kill: () => void
  /** In order. Resolves to the exit code of all. */
  end: (signal: NodeJS.Signals) => Promise<number>
}

export interface CrewOptions {
  file: string
  config: Config
  /** That all of them listen on. */
  port: number
  logger: Logger
  /** Gets whole lines of their logs. */
  onLines: (lines: string) => void
}

/** One that says nothing for so long is stuck, ms. */
const longestSilence = 60_000
const lookEvery = 5000
const cannotStart = 'a worker cannot be started'
/** How much longer than `listen.grace` the end of one may take, ms. */
const endsWithin = 10_000

export function createCrew(options: CrewOptions): Crew {
  const { config, logger } = options
  const failure = Promise.withResolvers<{ code: number }>()
  const over = new AbortController()
  const running = createRunning(options, over.signal)
  const places: Promise<number>[] = []

  /** One after the other, until the end; resolves to the exit code of the last one. */
  async function fill(number: number, onFirst: () => void): Promise<number> {
    const patience = createPatience()
    for (let hasServed = false; ;) {
      const { code, isReady } = await running.once(number, onFirst)
      hasServed ||= isReady
      if (over.signal.aborted) return code
      // What keeps the first of all from its start is told already, and lasts.
      if (number === 1 && !hasServed) failure.resolve({ code })
      const { pause, isExhausted } = patience()
      if (isExhausted && (isReady || !running.isAnyServing())) {
        const what = `worker ${number} ends again and again: so does the gateway; see the lines before`
        logger.error({ worker: number, code }, what)
        failure.resolve({ code: 1 })
      }
      await setTimeout(pause, undefined, { signal: over.signal }).catch(() => undefined)
      if (over.signal.aborted) return code
    }
  }

  async function take(number: number): Promise<void> {
    await new Promise<void>((resolve) => void places.push(fill(number, resolve)))
  }

  const watch = setInterval(() => running.killStuck(longestSilence), lookEvery).unref()
  return {
    async begin() {
      await take(1)
      const others = Array.from({ length: config.workers - 1 }, (_, index) => index + 2)
      await Promise.all(others.map(take))
      return undefined
    },
    hasFailed: failure.promise,
    adminPort: running.adminPort,
    reload: () => running.all().forEach((worker) => worker.tell({ kind: 'reload' })),
    kill: running.kill,
    async end(signal) {
      over.abort()
      clearInterval(watch)
      running.all().forEach((worker) => worker.tell({ kind: 'end', signal }))
      const { leaveDelay, grace } = config.listen
      const late = globalThis.setTimeout(running.kill, leaveDelay + grace + endsWithin)
      const codes = await Promise.all(places)
      clearTimeout(late)
      return Math.max(0, ...codes)
    },
  }
}

/** So many ends of one worker within `period` are no accident, ms. */
const mostEnds = 5
const period = 60_000
/** Before another one takes its place: doubles with each end, ms. */
const firstPause = 100
const longestPause = 5000

/** Called at each end: how long to wait before the next one begins, ms, and whether these are too many. */
function createPatience(now = () => performance.now()) {
  let ends: number[] = []
  return () => {
    ends = [...ends, now()].filter((at) => now() - at < period)
    const pause = Math.min(longestPause, firstPause * 2 ** (ends.length - 1))
    return { pause, isExhausted: ends.length >= mostEnds }
  }
}

/** Remembers of each worker whether it serves, and when it has ended. */
function createFates(count: number) {
  const workers = Array.from({ length: count }, () => ({ isServing: false, ends: [] as number[] }))
  let total = 0

  function set(number: number, isServing: boolean, ...ended: number[]): void {
    const ends = workers[number - 1]?.ends.filter((at) => Date.now() - at < endsKept) ?? []
    workers[number - 1] = { isServing, ends: [...ends, ...ended] }
  }

  return {
    serves: (number: number) => set(number, true),
    ended(number: number) {
      total += 1
      set(number, false, Date.now())
    },
    state: (): CrewState => ({ workers, ends: total }),
  }
}

/** The processes that there are now, by the numbers of their places. */
function createRunning({ file, config, port, logger, onLines }: CrewOptions, over: AbortSignal) {
  const { dir } = config.cache
  const folder = foldersIn(dir)
  const sockets = Array.from({ length: config.workers }, () => relative(dir, newTemporary(folder)))
  const running = new Map<number, WorkerProcess>()
  const fates = createFates(config.workers)
  let adminPort: number | undefined

  /** Nobody else would: the next start cleans up only where it is alone. */
  function forgetFiles({ prefix }: ReadyWorker): void {
    try {
      removeFilesOf(prefix, folder)
    } catch (error) {
      logger.warn({ err: error }, 'what a worker left in tmp/ cannot be removed')
    }
  }

  function tellAll(): void {
    const state = fates.state()
    for (const worker of running.values()) worker.tell({ kind: 'crew', state })
  }

  function noteEnd(number: number): void {
    running.delete(number)
    if (over.aborted) return
    fates.ended(number)
    tellAll()
  }

  return {
    /** Starts one, and waits for its end; `isReady`: it has served. */
    async once(number: number, onReady: () => void): Promise<{ code: number; isReady: boolean }> {
      let worker: WorkerProcess
      try {
        worker = startWorker(file, { number, sockets, port, adminPort }, onLines)
      } catch (error) {
        logger.error({ worker: number, err: error }, cannotStart)
        noteEnd(number)
        return { code: 1, isReady: false }
      }
      running.set(number, worker)
      const ready = await worker.ready
      if (ready !== undefined) {
        if (number === 1) adminPort = ready.adminPort
        fates.serves(number)
        tellAll()
        onReady()
      }
      const { code, signal, error } = await worker.ended
      noteEnd(number)
      if (ready !== undefined) forgetFiles(ready)
      if (error !== undefined) logger.error({ worker: number, err: error }, cannotStart)
      else if (!over.aborted) {
        logger.error({ worker: number, pid: worker.pid, code, signal }, 'a worker has ended')
      }
      return { code: code ?? 1, isReady: ready !== undefined }
    },
    all: () => [...running.values()],
    isAnyServing: () => fates.state().workers.some(({ isServing }) => isServing),
    adminPort: () => adminPort,
    kill: () => running.forEach((worker) => worker.kill()),
    killStuck(silence: number): void {
      for (const [number, worker] of running) {
        if (worker.silentFor() < silence) continue
        logger.error({ worker: number, pid: worker.pid }, 'a worker is stuck, and is killed')
        worker.kill()
      }
    },
  }
}
