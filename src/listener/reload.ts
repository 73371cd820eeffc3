// Takes new files into use without a restart: everything, or one listener's files, or none of them.
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { messageOf, UsageError, type Problem } from '../errors.ts'
import { watchFiles, type FileWatch } from './watch.ts'

/** What is prepared and swapped at once: everything, or what one listener reads from its files. */
export interface ReloadScope {
  /** The part that is told of where preparing breaks, such as `config`. */
  name: string
  /** The files to watch, absolute; asked again after each reload. */
  files: () => readonly string[]
  /** Reads and checks everything anew, and changes nothing. May throw UsageError. */
  prepare: () => Prepared | Promise<Prepared>
}

export interface Prepared {
  /** All that is covered; where one of them has a problem, none is taken. */
  parts: readonly PreparedPart[]
  /** Takes it into use. Where that fails, it has changed nothing. */
  take: () => void
  /** Lets go of what is not taken. */
  discard: () => void
}

/** What belongs together for log and metric, such as the files of one listener. */
export interface PreparedPart {
  part: string
  problems: readonly Problem[]
  /** For the log line, such as when a certificate ends. */
  facts?: Record<string, unknown>
}

export interface ReloadResult {
  part: string
  result: 'ok' | 'refused'
  /** Why it was refused. */
  problems: readonly Problem[]
}

export interface ReloaderOptions {
  everything: ReloadScope
  /** Each reloaded alone when its files change. */
  listeners: readonly ReloadScope[]
  log: Logger
  /** Called once for each part that was reloaded or refused. */
  onResult: (result: ReloadResult) => void
  /** When the files began to be read, ms since the epoch: later changes are made up for. */
  since?: number
}

export interface Reloader {
  /** Reloads everything, as for SIGHUP, or nothing. Resolves to whether it was. */
  reload: () => Promise<boolean>
  close: () => void
}

/**
 * A set that is wrong may be half of one: certificate and key are rarely replaced at once. It is
 * tried again after these pauses, ms, and told only then.
 */
const pauses = [250, 500, 1000]

/** Reloads a listener when one of its files changes, and everything when asked to or for its own files. */
export function createReloader(options: ReloaderOptions): Reloader {
  const { everything, listeners, log, onResult, since } = options
  const scopes = [everything, ...listeners]
  const stop = new AbortController()
  /** Counts what was begun for each scope: what a change began gives way to what came later. */
  const turns = new Map(scopes.map((scope) => [scope, 0]))
  let running: Promise<unknown> = Promise.resolve()
  let watched: readonly string[] = []
  let watch: FileWatch | undefined

  function begin(scope: ReloadScope): () => boolean {
    for (const one of scope === everything ? scopes : [scope]) {
      turns.set(one, (turns.get(one) ?? 0) + 1)
    }
    const begun = turns.get(scope)
    return () => turns.get(scope) === begun
  }

  /** One attempt at a time, so that an older one never overwrites a newer one. */
  function attempt(scope: ReloadScope): Promise<readonly PreparedPart[]> {
    const mine = running.then(() => attemptOnce(scope, stop.signal))
    running = mine.catch(() => undefined)
    return mine
  }

  async function settle(scope: ReloadScope, giveWay: boolean): Promise<boolean> {
    const isLatest = begin(scope)
    for (const pause of [...pauses, undefined]) {
      const parts = await attempt(scope)
      if (!parts.some(isRefused) || pause === undefined) return report(parts)
      await delay(pause, undefined, { signal: stop.signal, ref: false })
      if (giveWay && !isLatest()) return false
    }
    return false
  }

  function report(parts: readonly PreparedPart[]): boolean {
    // What was refused may name files that are put right later.
    watchAgain()
    const refused = parts.filter(isRefused)
    for (const { part, problems } of refused) {
      log.error({ part, problems }, 'reload refused: what was in use stays in use')
      onResult({ part, result: 'refused', problems })
    }
    if (refused.length > 0) return false
    for (const { part, facts } of parts) {
      log.info({ part, ...facts }, 'reloaded')
      onResult({ part, result: 'ok', problems: [] })
    }
    return true
  }

  function watchAgain(from?: number): void {
    const files = [...new Set(scopes.flatMap((scope) => scope.files()))]
    if (watch !== undefined && files.join('\n') === watched.join('\n')) return
    watch?.close()
    watched = files
    watch = watchFiles(files, changed, from)
  }

  function changed(files: readonly string[]): void {
    const concerned = (scope: ReloadScope) => scope.files().some((file) => files.includes(file))
    const due = concerned(everything) ? [everything] : listeners.filter(concerned)
    for (const scope of due) void background(settle(scope, true))
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
    reload: () => background(settle(everything, false)),
    close() {
      stop.abort()
      watch?.close()
    },
  }
}

/** What an error that is thrown while a part is prepared says is wrong with it. */
export function problemsOf(path: string, error: unknown): readonly Problem[] {
  if (error instanceof UsageError) return error.problems
  return [{ path, message: messageOf(error) }]
}

function isRefused({ problems }: PreparedPart): boolean {
  return problems.length > 0
}

async function attemptOnce(
  { name, prepare }: ReloadScope,
  stop: AbortSignal,
): Promise<readonly PreparedPart[]> {
  stop.throwIfAborted()
  let prepared: Prepared | undefined
  try {
    prepared = await prepare()
    stop.throwIfAborted()
    if (prepared.parts.some(isRefused)) prepared.discard()
    else prepared.take()
    return prepared.parts
  } catch (error) {
    prepared?.discard()
    if (stop.aborted) throw error
    return [{ part: name, problems: problemsOf(name, error) }]
  }
}
