// Hashes all that is stored, when somebody wants it and every now and then: bits rot where nobody reads.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Logger } from 'pino'
import type { CacheEvent } from '../cache.ts'
import { newTemporary, type Folder } from '../disk/folder.ts'
import { modes } from '../disk/private.ts'
import { isDigest } from '../../oci/digest.ts'
import type { StorageProblems } from '../storage-problems.ts'
import { verifyAll, type Flaw, type PassOptions } from './pass.ts'
import { prefixes, type Prefix } from './stored-digests.ts'

export interface Verification {
  /** Begins a pass over everything, in the place of one under way. */
  begin: (rate?: number) => void
  state: () => VerificationState
  /**
   * Goes on with the pass that an earlier process had begun, and begins one every `every` ms, an
   * hour at least; at `rate` bytes a second. Looks every minute whether it is time, unless told.
   */
  schedule: (plan: { every: number; rate: number; lookEvery?: number }) => void
  close: () => Promise<void>
}

/** What outlives the process, in `verified` of the cache folder; times are milliseconds since 1970. */
interface Progress {
  /** Absent where there was no pass yet. */
  began?: number
  /** The last folder that it is done with. */
  after?: Prefix
  /** When it had looked at everything. */
  ended?: number
}

/** Of the pass under way or, where none is, of the last one. */
export interface VerificationState extends Progress {
  isRunning: boolean
  /** How much of it is done, 0 to 1, by the digests that there may be. */
  share: number
  /** What this process has read in it. */
  files: number
  bytes: number
  /** How many flaws it has found, and the first thousand of them. */
  flaws: number
  findings: readonly Flaw[]
  /** Bytes that this process has read in all passes. */
  bytesOfAll: number
}

type Parts = Pick<PassOptions, 'store' | 'index' | 'memory' | 'disk'>

export interface VerificationOptions extends Parts {
  log: Logger
  storageProblems: StorageProblems
  onEvent: (event: CacheEvent) => void
  now: () => number
}

const mostFindings = 1000
const leastEvery = 3_600_000
const writeEvery = 5000
/** Unless told, bytes a second: that of a slow disk, with room for those who pull. */
const usualRate = 64 * 2 ** 20

export function createVerification(options: VerificationOptions): Verification {
  const { store, log, storageProblems, now } = options
  const progress = keepProgress(store.folder, storageProblems)
  let running: { end: AbortController; done: Promise<void> } | undefined
  let bytesOfAll = 0
  let counts = noCounts()
  let timer: NodeJS.Timeout | undefined

  function onFinding(finding: Flaw): void {
    counts.flaws += 1
    if (counts.findings.length < mostFindings) counts.findings.push(finding)
    tell(options, finding)
  }

  async function pass(rate: number, after: Prefix | undefined, signal: AbortSignal) {
    log.info({ rate, after }, 'verification of the cache begins')
    await verifyAll({
      ...options,
      rate,
      after,
      signal,
      onRead(bytes) {
        counts.bytes += bytes
        bytesOfAll += bytes
      },
      onFile: () => void (counts.files += 1),
      onFinding,
      onDone: (prefix) => progress.goOn(prefix),
    })
    if (signal.aborted) return
    const { began = now() } = progress.kept()
    progress.turn({ began, ended: now() })
    const { files, bytes, flaws } = counts
    log[flaws === 0 ? 'info' : 'warn']({ files, bytes, flaws }, 'the cache is verified')
  }

  function run(rate: number, after?: Prefix): void {
    const end = new AbortController()
    const before = running
    before?.end.abort()
    counts = noCounts()
    const done = (before?.done ?? Promise.resolve())
      .then(async () => pass(rate, after, end.signal))
      .catch((error: unknown) => storageProblems.note(error, 'verifying the cache'))
      .finally(() => {
        if (running?.end === end) running = undefined
      })
    running = { end, done }
  }

  function begin(rate = usualRate): void {
    progress.turn({ began: now() })
    run(rate)
  }

  return {
    begin,
    state: () => ({
      ...progress.kept(),
      isRunning: running !== undefined,
      share: shareOf(progress.kept()),
      ...counts,
      bytesOfAll,
    }),
    schedule({ every, rate, lookEvery = 60_000 }) {
      clearInterval(timer)
      timer = setInterval(() => {
        if (running !== undefined) return
        const { began, after, ended } = progress.kept()
        const age = began === undefined ? Infinity : now() - began
        if (began !== undefined && ended === undefined) run(rate, after)
        else if (age < 0 || age >= Math.max(every, leastEvery)) begin(rate)
      }, lookEvery).unref()
    },
    async close() {
      clearInterval(timer)
      running?.end.abort()
      if (running === undefined) return
      await running.done
      progress.write()
    },
  }
}

/** What is wrong or unreadable was told and counted as it was taken out of the way. */
function tell({ log, onEvent }: VerificationOptions, { name, flaw, reason }: Flaw): void {
  if (flaw === 'missing') {
    onEvent('missing_file')
    log.warn({ digest: name }, 'a cached file is gone: fetched again')
  } else if (!isDigest(name)) {
    const what = 'a folder of cached files cannot be read: what it has is fetched again'
    log.warn({ prefix: name, reason }, what)
  }
}

function noCounts() {
  const findings: Flaw[] = []
  return { files: 0, bytes: 0, flaws: 0, findings }
}

function shareOf({ ended, after }: Progress): number {
  if (ended !== undefined) return 1
  return after === undefined ? 0 : (prefixes.indexOf(after) + 1) / prefixes.length
}

/** Reads what an earlier process has left, and writes what the next one will find. */
function keepProgress(folder: Folder, storageProblems: StorageProblems) {
  let kept = readKept(folder.verified)
  let writtenAt = -Infinity

  function write(): void {
    writtenAt = performance.now()
    storageProblems.guard('writing how far verification is', () => {
      const temporary = newTemporary(folder)
      writeFileSync(temporary, `${JSON.stringify(kept)}\n`, { mode: modes.file })
      renameSync(temporary, folder.verified)
    })
  }

  return {
    kept: () => kept,
    /** A pass has begun, or has ended. */
    turn(next: Progress): void {
      kept = next
      write()
    },
    /** Written now and then: what is lost is only looked at once more. */
    goOn(after: Prefix): void {
      kept = { ...kept, after }
      if (performance.now() - writtenAt > writeEvery) write()
    },
    write,
  }
}

/** What cannot be read, or is by somebody else, is as if nothing had been verified yet. */
function readKept(path: string): Progress {
  try {
    const found: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const { began, after, ended } = found as Record<string, unknown>
    return {
      ...(typeof began === 'number' ? { began } : {}),
      ...(prefixes.includes(after as Prefix) ? { after: after as Prefix } : {}),
      ...(typeof ended === 'number' ? { ended } : {}),
    }
  } catch {
    return {}
  }
}
