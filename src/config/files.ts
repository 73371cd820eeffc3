// Finds the files that a config names, by the marks of its schema.
import type { TSchema } from 'typebox'
import type { Shape } from './decode.ts'
import { ConfigSchema, type Config } from './schema.ts'

/**
 * Absolute paths of the files that can be replaced while the gateway runs, each once. Those of the
 * listeners are not among them, because they are watched for each listener by itself; nor those of the
 * cache, which are read at the start only.
 */
export function filesNamedBy(config: Config): string[] {
  const { listen: _listen, admin: _admin, cache: _cache, ...others } = config
  const schema: TSchema = ConfigSchema
  return [...new Set(filesIn(schema, { ...others, shelf: others.shelf.file }))]
}

function filesIn(shape: Shape, value: unknown): string[] {
  if (typeof value === 'string') {
    const isFile = shape.isPath === true && shape.isWatched !== false
    const isUrl = shape.mayBeUrl === true && value.includes('://')
    return isFile && !isUrl ? [value] : []
  }
  if (typeof value !== 'object' || value === null) return []
  const [ofRecord] = Object.values(shape.patternProperties ?? {})
  return Object.entries(value).flatMap(([key, child]) => {
    const below = shape.items ?? shape.properties?.[key] ?? ofRecord
    return below === undefined ? [] : filesIn(below, child)
  })
}
