// The images that the config names for every start.
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { formatImage, namingOf } from './image-name.ts'
import { importAll } from './import.ts'

/** Imports `cache.import`, and logs what came of it: a bad archive keeps no gateway from serving. */
export async function importAtStart(config: Config, log: Logger): Promise<void> {
  if (config.cache.import.length === 0) return
  const options = { dir: config.cache.dir, naming: namingOf(config) }
  const { imported, failed } = await importAll(config.cache.import, options)
  for (const { names, ...image } of imported) {
    log.info({ ...image, images: names.map(formatImage) }, 'imported')
  }
  for (const { names, message, ...image } of failed) {
    log.warn({ ...image, images: names.map(formatImage), problem: message }, 'import failed')
  }
}
