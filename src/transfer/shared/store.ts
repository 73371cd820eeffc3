// The object store of the config, opened for the gateway, or asked once for whoever checks the config.
import type { Logger } from 'pino'
import { explain, readFormat } from '../../cache/shared/store-access.ts'
import type { ObjectStore } from '../../cache/shared/object-store.ts'
import type { Config } from '../../config/schema.ts'
import { UsageError, type Problem } from '../../errors.ts'

/**
 * undefined: none is configured. Throws UsageError where the files of its `tls` cannot be used, or where it
 * is required and cannot be used now.
 */
export async function openSharedStore(
  { cache }: Config,
  log: Logger,
): Promise<ObjectStore | undefined> {
  if (cache.shared === undefined) return undefined
  const { openS3Store } = await import('../../upstream/s3/s3-store.ts')
  const { warnings, ...store } = await openS3Store(cache.shared.s3)
  for (const warning of warnings) log.warn(warning)
  const problem = cache.shared.required ? await problemOf(store) : undefined
  if (problem !== undefined) throw new UsageError([problem])
  return store
}

/** Reads one object there, and writes none; undefined where that goes well, or no store is configured. */
export async function judgeSharedStore({ cache }: Config): Promise<Problem | undefined> {
  if (cache.shared === undefined) return undefined
  const { openS3Store } = await import('../../upstream/s3/s3-store.ts')
  const store: ObjectStore = await openS3Store(cache.shared.s3)
  try {
    return await problemOf(store)
  } finally {
    store.close()
  }
}

async function problemOf(store: ObjectStore): Promise<Problem | undefined> {
  try {
    await readFormat(store)
    return undefined
  } catch (error) {
    return explain(store, error)
  }
}
