// Finds the images that a pattern of the shelf means now.
import type { Cache } from '../../cache/cache.ts'
import { parseShelfPattern } from '../../config/shelf/pattern.ts'
import type { ShelfEntry } from '../../config/shelf/schema.ts'
import { UsageError } from '../../errors.ts'
import { compileGlob } from '../../rules/glob.ts'
import type { ImageName, Naming } from '../image-name.ts'
import { newestOf } from './versions.ts'

/** What has to be known of the config to read a pattern. */
export interface ShelfNaming extends Pick<Naming, 'rewrite'> {
  config: Parameters<typeof parseShelfPattern>[1]
}

export interface Selection {
  names: ImageName[]
  /** The upstream could not be asked what there is: it is what the cache knows. */
  isStale: boolean
}

/** Tags that are no images by themselves: where cosign keeps signatures. */
const referrerTag = /^sha(256|512)-[0-9a-f]{64,128}/

/** The one image of a pattern without wildcards; undefined where it has some. */
export function plainName(entry: ShelfEntry, naming: ShelfNaming): ImageName | undefined {
  const { upstream, repository, tag, digest } = patternOf(entry, naming)
  if (`${repository}${tag ?? ''}`.includes('*')) return undefined
  const place = naming.rewrite?.({ upstream, repository }) ?? { upstream, repository }
  return { ...place, ...(tag && { tag }), ...(digest && { digest }) }
}

/** Asks the upstream for what wildcards stand for. Throws GatewayError as the cache does. */
export async function selectImages(
  cache: Cache,
  entry: ShelfEntry,
  naming: ShelfNaming,
): Promise<Selection> {
  const plain = plainName(entry, naming)
  if (plain !== undefined) return { names: [plain], isStale: false }
  const { upstream, repository, tag = '' } = patternOf(entry, naming)
  const repositories = await repositoriesOf(cache, upstream, repository)
  let { isStale } = repositories
  const names: ImageName[] = []
  for (const name of repositories.names) {
    const place = { upstream, repository: name }
    if (!tag.includes('*')) {
      names.push({ ...place, tag })
      continue
    }
    const { entries, stale } = await cache.tags(place)
    isStale ||= stale
    names.push(...tagsOf(entries, tag, entry.newest).map((found) => ({ ...place, tag: found })))
  }
  return { names, isStale }
}

async function repositoriesOf(cache: Cache, upstream: string, pattern: string) {
  if (!pattern.includes('*')) return { names: [pattern], isStale: false }
  const { entries, stale } = await cache.catalog(upstream)
  const glob = compileGlob(pattern, '/')
  return { names: entries.filter((name) => glob.matches(name)), isStale: stale }
}

function tagsOf(tags: readonly string[], pattern: string, newest: number | undefined): string[] {
  const glob = compileGlob(pattern, undefined)
  const found = tags.filter((tag) => glob.matches(tag) && !referrerTag.test(tag))
  if (newest === undefined) return found
  return newestOf(found, { count: newest, withSuffix: pattern.includes('-') })
}

function patternOf({ image }: ShelfEntry, { config }: ShelfNaming) {
  const pattern = parseShelfPattern(image, config)
  if (typeof pattern === 'string') throw new UsageError([{ path: image, message: pattern }])
  return pattern
}
