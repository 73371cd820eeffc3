// Takes new files into use without a restart: all of a part's files or none of them.
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { UsageError, type Problem } from '../errors.ts'
import { watchFiles, type FileWatch } from './watch.ts'

/** What belongs together, such as the files of one listener. */
export interface ReloadPart {
  /** A word for log and metric, such as `listen`. */
  name: string
  /** The files to watch, absolute; asked again after each reload. */
  files: () => readonly string[]
  /**
   * Reads and checks everything anew, and changes nothing. Throws UsageError with what is wrong.
   */
  prepare: () => Prepared | Promise<Prepared>
}

export interface Prepared {
  /** Takes it into use; must not fail. */
  swap: () => void
  /** For the log line, such as when a certificate ends. */
  facts?: Record<string, unknown>
}

export interface ReloadResult {
  part: string
  result: 'ok' | 'refused'
}

export interface ReloaderOptions {
  parts: readonly ReloadPart[]
  log: Logger
  /** Called once for each part that was reloaded or refused. */
  onResult: (result: ReloadResult) => void
  /** When the parts began to be read, ms since the epoch: later changes are made up for. */
  since?: number
}

export interface Reloader {
  /**
   * Reloads every part, as for SIGHUP; where one is refused, none is replaced. Resolves to whether
   * they are.
   */
  reload: () => Promise<boolean>
  close: () => void
}

/**
 * A set that is wrong may be half of one: certificate and key are rarely replaced at once. It is
 * tried again after these pauses, ms, and told only then.
 */
const pauses = [250, 500, 1000]

/** Reloads each part when one of its files changes, and all of them when asked to. */
export function createReloader({ parts, log, onResult, since }: ReloaderOptions): Reloader {
  const stop = new AbortController()
  /** Counts what was begun for each part: what a change began gives way to what came later. */
  const turns = new Map(parts.map((part) => [part, 0]))
  let running: Promise<unknown> = Promise.resolve()
  let watched: readonly string[] = []
  let watch: FileWatch | undefined

  function begin(group: readonly ReloadPart[]): () => boolean {
    for (const part of group) turns.set(part, (turns.get(part) ?? 0) + 1)
    const begun = group.map((part) => turns.get(part))
    return () => group.every((part, index) => turns.get(part) === begun[index])
  }

  /** One attempt at a time, so that an older one never overwrites a newer one. */
  function attempt(group: readonly ReloadPart[]): Promise<Outcome[]> {
    const mine = running.then(() => attemptAll(group))
    running = mine.catch(() => undefined)
    return mine
  }

  async function settle(group: readonly ReloadPart[], giveWay: boolean): Promise<boolean> {
    const isLatest = begin(group)
    for (const pause of [...pauses, undefined]) {
      const outcomes = await attempt(group)
      const complete = outcomes.every(({ problems }) => problems.length === 0)
      if (complete || pause === undefined) return report(outcomes)
      await delay(pause, undefined, { signal: stop.signal, ref: false })
      if (giveWay && !isLatest()) return false
    }
    return false
  }

  function report(outcomes: readonly Outcome[]): boolean {
    const refused = outcomes.filter(({ problems }) => problems.length > 0)
    for (const { part, problems } of refused) {
      log.error({ part, problems }, 'reload refused: what was in use stays in use')
      onResult({ part, result: 'refused' })
    }
    if (refused.length > 0) return false
    for (const { part, facts } of outcomes) {
      log.info({ part, ...facts }, 'reloaded')
      onResult({ part, result: 'ok' })
    }
    watchAgain()
    return true
  }

  function watchAgain(from?: number): void {
    const files = [...new Set(parts.flatMap((part) => part.files()))]
    if (watch !== undefined && files.join('\n') === watched.join('\n')) return
    watch?.close()
    watched = files
    watch = watchFiles(files, changed, from)
  }

  function changed(files: readonly string[]): void {
    for (const part of parts) {
      if (part.files().some((file) => files.includes(file))) void background(settle([part], true))
    }
  }

  async function background(settled: Promise<boolean>): Promise<boolean> {
    try {
      return await settled
    } catch (error) {
      if (!stop.signal.aborted) log.error({ err: error }, 'reloading failed')
      return false
    }
  }

  watchAgain(since)
  return {
    reload: () => background(settle(parts, false)),
    close() {
      stop.abort()
      watch?.close()
    },
  }
}

interface Outcome {
  part: string
  problems: readonly Problem[]
  facts: Record<string, unknown>
}

/** Prepares every part, and swaps them all if none of them has a problem. */
async function attemptAll(group: readonly ReloadPart[]): Promise<Outcome[]> {
  const swaps: (() => void)[] = []
  const outcomes: Outcome[] = []
  for (const part of group) {
    try {
      const { swap, facts = {} } = await part.prepare()
      swaps.push(swap)
      outcomes.push({ part: part.name, problems: [], facts })
    } catch (error) {
      outcomes.push({ part: part.name, problems: problemsOf(part.name, error), facts: {} })
    }
  }
  if (swaps.length === group.length) for (const swap of swaps) swap()
  return outcomes
}

function problemsOf(path: string, error: unknown): readonly Problem[] {
  if (error instanceof UsageError) return error.problems
  return [{ path, message: error instanceof Error ? error.message : String(error) }]
}
