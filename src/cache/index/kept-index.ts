// Keeps a sound index under a running cache: checks it now and then, replaces one that is damaged or
// gone, and reads from the files what a new one lacks.
import { readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { access, constants, rm } from 'node:fs/promises'
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { systemCode } from '../../errors.ts'
import { newTemporary } from '../disk/folder.ts'
import type { CacheEvent } from '../cache.ts'
import type { Store } from '../store.ts'
import type { StorageProblems } from '../storage-problems.ts'
import { buildAside, quickCheck } from './background.ts'
import { readFacts } from './content-facts.ts'
import { openIndex, type Index } from './content-index.ts'
import { checkedAtOnce, isDamage, setAside } from './database.ts'
import { longestLine } from './journal/journal.ts'
import { createTolerantIndex, type TolerantIndex } from './tolerant-index.ts'

export interface KeptIndexOptions {
  dir: string
  store: Store
  storageProblems: StorageProblems
  log: Logger
  onEvent: (event: CacheEvent) => void
  /** How often something better than an index in memory is tried, ms. */
  retryEvery?: number
  /** False where another process checks the index, and makes it anew. */
  isKeeper?: boolean
}

export interface KeptIndex {
  index: TolerantIndex
  /** Resolves once none is being made any more, here or by the keeper; it may have failed. */
  whole: () => Promise<void>
  /** Ends what it does in the background; the index itself stays open. */
  stop: () => Promise<void>
}

/** How long everybody waits where another process writes to the index, ms: what is written then waits. */
const patience = 100
/** Bytes of a journal that everybody waits for: some 30,000 entries, 200 ms. */
const mostAtOnce = 4 * 2 ** 20
const checkEvery = 86_400_000
/** How often it is looked whether another process has made the index, ms. */
const lookEvery = 250

/** Throws UsageError `cache.dir`. */
export function keepIndex(options: KeptIndexOptions): KeptIndex {
  const { store, storageProblems, retryEvery = 30_000, isKeeper = true } = options
  const { folder } = store
  const end = new AbortController()
  const opening = createOpening(options)
  let reading: Promise<void> = Promise.resolve()
  let building: Promise<void> | undefined

  const index = createTolerantIndex(opening.open(false), storageProblems, (isDamaged) => {
    if (isDamaged) storageProblems.guard('setting the index aside', () => setAside(folder))
    const next = opening.open(isDamaged)
    void setImmediate().then(read)
    return next
  })

  /** What follows a new index. */
  function read(): void {
    if (!isKeeper) return
    if (index.isProvisional()) building ??= build().finally(() => (building = undefined))
    reading = reading.then(async () => {
      if (end.signal.aborted || !index.lacksFacts()) return
      await readFacts({ store, index }, end.signal).catch((error: unknown) => {
        storageProblems.note(error, 'reading the files of the cache')
      })
    })
  }

  async function build(): Promise<void> {
    const target = newTemporary(folder)
    try {
      opening.beginBuild()
      const entries = await buildAside(folder, target, end.signal)
      await index.sync()
      if (end.signal.aborted) return
      opening.endBuild(target)
      index.replace('better')
      options.log.info({ entries }, 'the index of the cache has been made anew')
    } catch (error) {
      if (!end.signal.aborted) storageProblems.note(error, 'making the index of the cache anew')
    } finally {
      await rm(target, { force: true })
    }
  }

  async function check(): Promise<void> {
    if (!isKeeper) return
    if (index.isVolatile() || index.isProvisional()) return
    const answer = await quickCheck(folder.index)
    if (isDamage(answer) && !end.signal.aborted) index.replace('damaged')
  }

  async function retry(): Promise<void> {
    if (index.isProvisional()) read()
    if (!index.isVolatile() || (await store.problem()) !== undefined) return
    if (!(await isWritable(folder.index)) || !(await index.sync())) return
    if (!end.signal.aborted) index.replace('better')
  }

  function safely(work: () => Promise<void>, what: string): void {
    work().catch((error: unknown) => storageProblems.note(error, what))
  }

  const checkSafely = (): void => safely(check, 'checking the index of the cache')
  read()
  if (sizeOf(folder.index) > checkedAtOnce) checkSafely()
  const timers = [
    setInterval(checkSafely, checkEvery).unref(),
    setInterval(() => safely(retry, 'opening the index of the cache'), retryEvery).unref(),
  ]
  return {
    index,
    async whole() {
      // Making one begins a moment after another was lost.
      await setImmediate()
      if (!isKeeper) {
        building ??= madeElsewhere(index, end.signal).finally(() => (building = undefined))
      }
      await building
    },
    async stop() {
      timers.forEach(clearInterval)
      end.abort()
      await building
      await reading
    },
  }
}

/** The keeper's is taken up by whoever settles the index. */
async function madeElsewhere(index: TolerantIndex, signal: AbortSignal): Promise<void> {
  while (index.isProvisional() && !signal.aborted) {
    await delay(lookEvery, undefined, { signal }).catch(() => undefined)
  }
}

/** Opens one index after the other; each has what came true while one before it was in memory. */
function createOpening({ dir, store, log, onEvent, isKeeper = true }: KeptIndexOptions) {
  const { folder } = store
  /** From where on the journal may have what only an index in memory knows. */
  let replayFrom: number | undefined
  let built: string | undefined

  // A line may be half written just now.
  const journalEnd = (): number => Math.max(0, sizeOf(folder.journal) - longestLine)

  function open(isDamaged: boolean): Index {
    if (built !== undefined) putInPlace(built, folder.index)
    built = undefined
    const before = journalEnd()
    const index = openIndex(dir, { patience, mostAtOnce, replayFrom, isKeeper })
    const { made, isVolatile, isProvisional } = index
    replayFrom = isVolatile || isProvisional ? (replayFrom ?? before) : undefined
    if (made === undefined) return index
    const isFound = isDamaged || made.because === 'damaged'
    const isEmpty = made.entries === 0 && !isProvisional && readdirSync(folder.blobs).length === 0
    if (!isFound && isEmpty) return index
    onEvent(isFound ? 'damaged_index' : 'missing_index')
    const what = isFound
      ? 'the index of the cache is damaged: set aside in quarantine/'
      : 'the index of the cache is not there'
    const when = isProvisional ? ', in the background' : ''
    const { entries } = made
    log.error({ entries }, `${what}, and made anew from the journal and the files${when}`)
    return index
  }

  return {
    open,
    beginBuild: () => void (replayFrom = journalEnd()),
    /** The next one that is opened is that at `path`. */
    endBuild: (path: string) => void (built = path),
  }
}

function putInPlace(path: string, index: string): void {
  // They would be taken for those of the new one.
  for (const suffix of ['-wal', '-shm']) rmSync(index + suffix, { force: true })
  renameSync(path, index)
}

async function isWritable(index: string): Promise<boolean> {
  for (const path of [index, `${index}-wal`, `${index}-shm`]) {
    try {
      await access(path, constants.W_OK)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') return false
    }
  }
  return true
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
