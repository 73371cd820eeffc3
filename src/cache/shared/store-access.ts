// Asks the object store while it is well: lets it rest after a failure, and refuses a bucket of a newer format.
import type { Logger } from 'pino'
import { formatKey, sharedFormat } from './layout.ts'
import type { ObjectStore, StoreProblem } from './object-store.ts'
import { readSmallObject } from './small-object.ts'

export type StorePart = 'read' | 'write'

export interface StoreAccess {
  store: ObjectStore
  /**
   * What `work` brings; undefined where the store rests, or fails, which lets it rest. The signal of `work`
   * is aborted after `ms`. `isPatient`: it is asked although it rests.
   */
  use: <T>(
    part: StorePart,
    options: UseOptions,
    work: (signal: AbortSignal) => Promise<T>,
  ) => Promise<Brought<T>>
  /** All bytes of a small object; undefined: there is none, or it is not small. */
  bytes: (key: string, signal: AbortSignal) => Promise<Buffer | undefined>
  failed: (part: StorePart, error: unknown) => void
  isResting: (part: StorePart) => boolean
  /** Why it is not asked now, one for each part that rests. */
  problems: () => StoreProblem[]
  /** What fails from now on is of no interest. */
  close: () => void
}

export interface UseOptions {
  /** Without it `work` knows by itself when to give up. */
  ms?: number
  isPatient?: boolean
}

type Brought<T> = { value: T } | undefined

export interface StoreAccessOptions {
  store: ObjectStore
  log: Logger
  now: () => number
  onRequest: (part: StorePart, result: string) => void
}

/** How long whoever failed is left alone, ms: as an upstream is. */
const restFor = 15_000
const formatMs = 5000
const { signal: endless } = new AbortController()

/** The bucket is not to be used, whatever is done. */
class NewerFormat extends Error {
  override readonly name = 'NewerFormat'
}

export function createStoreAccess({ store, log, now, onRequest }: StoreAccessOptions): StoreAccess {
  const rests = new Map<StorePart, { at: number; problem: StoreProblem }>()
  let isFormatKnown = false
  let isClosed = false

  function isResting(part: StorePart): boolean {
    const age = now() - (rests.get(part)?.at ?? Number.NEGATIVE_INFINITY)
    return age >= 0 && age < restFor
  }

  function failed(part: StorePart, error: unknown): void {
    if (isClosed) return
    const problem = explain(store, error)
    onRequest(part, problem.reason)
    if (rests.get(part)?.problem.reason !== problem.reason) {
      const line = { reason: problem.reason, key: problem.path, err: error }
      log.warn(
        line,
        `shared store ${store.name} (${part}): ${problem.message}; pulls go on without it`,
      )
    }
    rests.set(part, { at: now(), problem })
  }

  function answered(part: StorePart): void {
    onRequest(part, 'ok')
    if (rests.delete(part)) log.info({ part }, `shared store ${store.name} answers again`)
  }

  async function bytes(key: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const object = await store.get(key, { signal })
    return object && readSmallObject(object)
  }

  return {
    store,
    bytes,
    failed,
    isResting,
    async use(part, { ms, isPatient = false }, work) {
      if (isResting(part) && !isPatient) return undefined
      try {
        if (!isFormatKnown && !(await readFormat(store))) {
          await store.put(formatKey, Buffer.from(`${sharedFormat}\n`), { ifAbsent: true })
        }
        isFormatKnown = true
        const value = await work(ms === undefined ? endless : AbortSignal.timeout(ms))
        answered(part)
        return { value }
      } catch (error) {
        failed(part, error)
        return undefined
      }
    },
    problems: () => [...rests.values()].map(({ problem }) => problem),
    close: () => void (isClosed = true),
  }
}

/** Whether the bucket has a format. Throws where it cannot be used, or has a newer one. */
export async function readFormat(store: ObjectStore): Promise<boolean> {
  const object = await store.get(formatKey, { signal: AbortSignal.timeout(formatMs) })
  if (object === undefined) return false
  const known = String((await readSmallObject(object)) ?? 'no known size').trim()
  if (!(Number(known) <= sharedFormat)) {
    throw new NewerFormat(`is of format ${known.slice(0, 20)}, this version knows ${sharedFormat}`)
  }
  return true
}

export function explain(store: ObjectStore, error: unknown): StoreProblem {
  if (!(error instanceof NewerFormat)) return store.explain(error)
  const message = `${error.message}: update this gateway, or use another prefix`
  return { reason: 'newer_format', path: 'cache.shared.s3.prefix', message }
}
