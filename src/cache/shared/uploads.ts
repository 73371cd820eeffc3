// Works the queue off: writes to the object store what it lacks, as long as it answers.
import { setTimeout as wait } from 'node:timers/promises'
import { keyOf, type Queue, type Task } from './queue.ts'
import { createWriting, type WritingOptions } from './writing.ts'

export interface UploadsOptions extends WritingOptions {
  queue: Queue
  /** How often it looks whether there is something to do again, ms. */
  restCheck?: number
}

export interface Uploads {
  /** There is something to do. */
  wake: () => void
  /** Ends what is under way within a moment; the rest waits for the next start. */
  close: () => Promise<void>
}

/** Tasks at once: what waits for a machine to be lost is not much, where the store answers after tens of ms. */
const atOnce = 8
/** How often what is not stored here yet is looked for, and how long after that the next time, ms. */
const mostLooks = 10
const lookAgain = 500
/** How long after a failure the same is tried again, ms; twice as long after each further one. */
const againAfter = 500
const longestAgain = 10 * 60_000
/** How long the end waits for what is under way, ms. */
const lastMs = 1000

export function createUploads(options: UploadsOptions): Uploads {
  const { access, queue, pause, restCheck = 500 } = options
  const perform = createWriting(options)
  const looks = new Map<string, { count: number; next: number }>()
  const failures = new Map<string, number>()
  const underWay = new Set<string>()
  const end = new AbortController()
  let woken = Promise.withResolvers<void>()

  async function run(): Promise<void> {
    while (!end.signal.aborted) {
      const task = access.isResting('write') || pause.isOn() ? undefined : next()
      if (task === undefined) await idle()
      else await handle(task)
    }
  }

  function next(): Task | undefined {
    const now = Date.now()
    for (const task of queue.waiting()) {
      const key = keyOf(task)
      if (!underWay.has(key) && (looks.get(key)?.next ?? 0) <= now) return task
    }
    return undefined
  }

  async function idle(): Promise<void> {
    const isEmpty = queue.size() === underWay.size
    const timer = isEmpty ? undefined : setTimeout(wake, restCheck).unref()
    await woken.promise
    clearTimeout(timer)
  }

  async function handle(task: Task): Promise<void> {
    const key = keyOf(task)
    underWay.add(key)
    try {
      const outcome = await access.use('write', {}, async () => perform(task, end.signal))
      if (outcome === undefined) putOff(key)
      else if (outcome.value === 'later') postpone(task, key)
      else if (outcome.value === 'busy') looks.set(key, { count: 0, next: Date.now() + lookAgain })
      else if (outcome.value === 'done') finish(task, key)
    } finally {
      underWay.delete(key)
    }
  }

  /** What the store does not take by itself holds nobody else up. */
  function putOff(key: string): void {
    const count = failures.get(key) ?? 0
    failures.set(key, count + 1)
    looks.set(key, { count: 0, next: Date.now() + Math.min(againAfter * 2 ** count, longestAgain) })
  }

  function finish(task: Task, key: string): void {
    failures.delete(key)
    looks.delete(key)
    queue.done(task)
  }

  /** What is evicted before it was written is fetched again by whoever wants it, and comes back here. */
  function postpone(task: Task, key: string): void {
    const count = (looks.get(key)?.count ?? 0) + 1
    if (count > mostLooks) finish(task, key)
    else looks.set(key, { count, next: Date.now() + lookAgain * 2 ** (count - 1) })
  }

  function wake(): void {
    const before = woken
    woken = Promise.withResolvers<void>()
    before.resolve()
  }

  const running = Promise.all(Array.from({ length: atOnce }, run))
  return {
    wake,
    async close() {
      access.close()
      end.abort()
      wake()
      await Promise.race([running, wait(lastMs, undefined, { ref: false })])
    },
  }
}
