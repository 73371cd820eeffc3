// The images that the config names for every start, brought in while the gateway serves already.
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { formatImage, namingOf } from './image-name.ts'

export interface StartImport {
  /** What is not done yet, one sentence; nothing afterwards. */
  problems: () => string[]
  /** Ends it, where it still goes on; what is whole by then stays. */
  close: () => Promise<void>
}

/** Imports `cache.import`, and logs what came of it: a bad archive keeps no gateway from serving. */
export function startImport(config: Config, log: Logger): StartImport {
  const stop = new AbortController()
  let isDone = false
  const ended = importConfigured(config, log, stop.signal)
    .catch((error: unknown) => {
      if (!stop.signal.aborted) log.error({ err: error }, 'the import of cache.import broke off')
    })
    .finally(() => (isDone = true))
  return {
    problems: () => (isDone ? [] : ['the images of cache.import are still being imported']),
    async close() {
      stop.abort()
      await ended
    },
  }
}

async function importConfigured(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  if (config.cache.import.length === 0) return
  const options = { dir: config.cache.dir, naming: namingOf(config), signal }
  const { importAll } = await import('./import.ts')
  const { imported, failed } = await importAll(config.cache.import, options)
  for (const { names, ...image } of imported) {
    log.info({ ...image, images: names.map(formatImage) }, 'imported')
  }
  for (const { names, message, ...image } of failed) {
    log.warn({ ...image, images: names.map(formatImage), problem: message }, 'import failed')
  }
}
