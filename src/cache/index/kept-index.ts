// Keeps a sound index under a running cache: checks it now and then, replaces one that is damaged or
// gone, and reads from the files what a new one lacks.
import { readdirSync, statSync } from 'node:fs'
import type { Logger } from 'pino'
import type { CacheEvent } from '../cache.ts'
import type { Store } from '../store.ts'
import type { StorageProblems } from '../storage-problems.ts'
import { readFacts } from './content-facts.ts'
import { openIndex, type Index } from './content-index.ts'
import { checkedAtOnce, isDamage, setAside } from './database.ts'
import { quickCheck } from './quick-check.ts'
import { createTolerantIndex, type TolerantIndex } from './tolerant-index.ts'

export interface KeptIndexOptions {
  dir: string
  store: Store
  storageProblems: StorageProblems
  log: Logger
  onEvent: (event: CacheEvent) => void
}

export interface KeptIndex {
  index: TolerantIndex
  /** Ends what it does in the background; the index itself stays open. */
  stop: () => Promise<void>
}

/** How long everybody waits where another process writes to the index, ms: what is written then waits. */
const patience = 100
const checkEvery = 86_400_000

/** Throws UsageError `cache.dir`. */
export function keepIndex(options: KeptIndexOptions): KeptIndex {
  const { dir, store, storageProblems, log, onEvent } = options
  const { folder } = store
  const end = new AbortController()
  let reading: Promise<void> = Promise.resolve()

  function opened(isDamaged = false): Index {
    const index = openIndex(dir, patience)
    const { made } = index
    if (made === undefined) return index
    const isFound = isDamaged || made.because === 'damaged'
    if (!isFound && made.entries === 0 && readdirSync(folder.blobs).length === 0) return index
    onEvent(isFound ? 'damaged_index' : 'missing_index')
    const what = isFound
      ? 'the index of the cache is damaged: set aside in quarantine/'
      : 'the index of the cache is not there'
    log.error({ entries: made.entries }, `${what}, and made anew from the journal and the files`)
    return index
  }

  const index = createTolerantIndex(opened(), storageProblems, (isDamaged) => {
    if (isDamaged) storageProblems.guard('setting the index aside', () => setAside(folder))
    const next = opened(isDamaged)
    setImmediate(read)
    return next
  })

  function read(): void {
    reading = reading.then(async () => {
      if (end.signal.aborted || !index.lacksFacts()) return
      await readFacts({ store, index }, end.signal).catch((error: unknown) => {
        storageProblems.note(error, 'reading the files of the cache')
      })
    })
  }

  async function check(): Promise<void> {
    if (index.isVolatile()) return
    const answer = await quickCheck(folder.index)
    if (isDamage(answer) && !end.signal.aborted) index.replace()
  }

  function checkSafely(): void {
    check().catch((error: unknown) =>
      storageProblems.note(error, 'checking the index of the cache'),
    )
  }

  read()
  if (sizeOf(folder.index) > checkedAtOnce) checkSafely()
  const timer = setInterval(checkSafely, checkEvery).unref()
  return {
    index,
    async stop() {
      clearInterval(timer)
      end.abort()
      await reading
    },
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
