// How much V8 allocates before it looks for what has died young: more while many connections are busy.
//
// A response lives until the turn of the event loop is over in which it was written. With 500 busy connections
// that is through seven collections of 1 MiB, and what lives through two is kept until the next full one: 3 KiB of
// each request, 90 MiB in a second. Where a whole turn fits in, it is a twentieth of that. docs/adr/0038-young-generation.md.
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What a request allocates until its answer is written, bytes. */
const perConnection = 16 * 1024
/** V8 by itself would take six times as much. */
const mostBytes = 8 * 2 ** 20

/** Looked at after so many requests; worth it where they took no longer, ms. */
const busyRequests = 1024
const busyTime = 1000
/** How often it is asked whether they are still there, ms. */
const lookEvery = 5000

/** Returns what is to be called at each request; `connections` tells how many there are. */
export function growYoungGeneration(connections: () => number, pause = lookEvery): () => void {
  let requests = 0
  let since = performance.now()
  let looked = 0
  let looking: NodeJS.Timeout | undefined

  /** Gives it back: with so much of it what is downloaded costs a seventh more. */
  function look(): void {
    const isBusy = requests - looked >= busyRequests
    looked = requests
    if (isBusy && connections() * perConnection * 4 > capacity()) return
    clearInterval(looking)
    looking = undefined
    shrink()
  }

  return () => {
    requests += 1
    if (requests % busyRequests !== 0) return
    const now = performance.now()
    const isBusy = now - since < busyTime
    since = now
    const wanted = Math.min(mostBytes, connections() * perConnection)
    if (!isBusy || capacity() >= wanted) return
    growTo(wanted)
    looked = requests
    looking ??= setInterval(look, pause).unref()
  }
}

const survivorBytes = 32 * 1024
/** Enough for each doubling: two collections, and some. */
const mostSurvivors = (4 * mostBytes) / survivorBytes

/** V8 doubles it once more has survived than it holds, so something has to. */
function growTo(bytes: number): void {
  setFlagsFromString('--semi-space-growth-factor=2')
  const one = Array.from({ length: survivorBytes / 8 }, () => 0)
  const survivors = [one]
  while (capacity() < bytes && survivors.length < mostSurvivors) survivors.push(one.slice())
  // As `main.ts` has it.
  setFlagsFromString('--semi-space-growth-factor=1')
}

/** Of all collections only this one does it whatever is going on. */
function shrink(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: { type: 'major'; flavor: string }) => void
  collect({ type: 'major', flavor: 'last-resort' })
}

/** Of one of its two halves, bytes. */
function capacity(): number {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  return (young?.space_size ?? Infinity) / 2
}
