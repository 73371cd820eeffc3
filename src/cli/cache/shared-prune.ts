// `portcullis prune --shared`: prunes the object store that replicas share, without any of them.
import { mkdtemp, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Static } from 'typebox'
import { PruneBody } from '../../admin/api/requests.ts'
import { compileRequest } from '../../admin/api/validator.ts'
import { formatReference } from '../../admin/status/views.ts'
import type { ObjectStore } from '../../cache/shared/object-store.ts'
import { pruneStore, shortestUnpulled } from '../../cache/shared/pruning/prune-store.ts'
import type { Config } from '../../config/schema.ts'
import { formatDuration } from '../../config/units.ts'
import { UsageError } from '../../errors.ts'
import { judgeSharedStore } from '../../transfer/shared/store.ts'
import { openS3Store } from '../../upstream/s3/s3-store.ts'
import { printNote } from '../output/print.ts'
import { aboutOptions } from './asking.ts'

/** As the admin API has it. */
export interface PruneAnswer {
  removed: { digest: string; names: string[]; bytes: number; blobs: number }[]
  bytes: number
  left: { bytes: number }
}

/**
 * `given`: options by their names in the admin API, as text. Throws UsageError where they are wrong or no
 * store is configured; rejects with a sentence where another one prunes it, or it does not answer.
 */
export async function pruneShared(config: Config, given: object): Promise<PruneAnswer> {
  const { dryRun: isDryRun, ...filter } = decodeOptions(given)
  if (config.cache.shared === undefined) {
    const message = 'is missing: name the bucket that replicas share'
    throw new UsageError([{ path: 'cache.shared.s3', message }])
  }
  const problem = await judgeSharedStore(config)
  if (problem !== undefined) throw new Error(`${problem.path}: ${problem.message}`)
  const { warnings, ...store } = await openS3Store(config.cache.shared.s3)
  warnings.forEach(printNote)
  const dir = await mkdtemp(join(tmpdir(), 'portcullis-prune-'))
  const end = new AbortController()
  const stop = () => end.abort(new Error('ended before its end: run it again for the rest'))
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    const steps = pruneStore({
      store: explained(store),
      filter,
      dir,
      isDryRun,
      holder: `process ${process.pid} on ${hostname()}`,
      tell: printNote,
      signal: end.signal,
    })
    const removed: PruneAnswer['removed'] = []
    for (;;) {
      const { done, value } = await steps.next()
      if (done) {
        const bytes = removed.reduce((sum, one) => sum + one.bytes, 0)
        return { removed, bytes, left: value }
      }
      removed.push({ ...value, names: value.names.map(formatReference) })
    }
  } catch (error) {
    throw end.signal.aborted ? end.signal.reason : error
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
    store.close()
    await rm(dir, { recursive: true, force: true })
  }
}

function decodeOptions(given: object): Static<typeof PruneBody> {
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  const decoded = compileRequest({ schema: PruneBody })(Object.fromEntries(said))
  if ('error' in decoded) throw aboutOptions(decoded.error.problems)
  const body = decoded.value as Static<typeof PruneBody>
  if (body.notPulledFor !== undefined && body.notPulledFor < shortestUnpulled) {
    const message = `replicas tell the store of pulls once a day: ${formatDuration(shortestUnpulled)} or more; or take --older-than`
    throw new UsageError([{ path: '--not-pulled-for', message }])
  }
  return body
}

/** The same store, whose failures say what to do. */
function explained(store: ObjectStore): ObjectStore {
  const fail = (cause: unknown): never => {
    const { path, message } = store.explain(cause)
    throw new Error(`${path}: ${message}`, { cause })
  }
  return {
    ...store,
    get: async (...args) => store.get(...args).catch(fail),
    put: async (...args) => store.put(...args).catch(fail),
    swap: async (...args) => store.swap(...args).catch(fail),
    removeAll: async (...args) => store.removeAll(...args).catch(fail),
    async *list(...args) {
      try {
        yield* store.list(...args)
      } catch (error) {
        fail(error)
      }
    },
  }
}
