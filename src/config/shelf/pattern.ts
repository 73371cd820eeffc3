// Reads the images of a shelf: names, or patterns of repositories and tags. Pure.
import { Cron } from 'croner'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { isRepositoryName, isTag } from '../../oci/resource.ts'
import { createUpstreamFinder, placeAt } from '../upstream-names.ts'
import type { TellAt } from '../draft.ts'
import type { ShelfEntry } from './schema.ts'

/** `repository` and `tag` may have wildcards, the latter only where there is no digest. */
export interface ShelfPattern {
  upstream: string
  repository: string
  tag: string | undefined
  digest: Digest | undefined
}

interface Upstreams {
  upstreams: Readonly<Record<string, { caseSensitive?: boolean }>>
  defaultUpstream?: string | undefined
}

/** `[UPSTREAM/]REPOSITORY[:TAG][@DIGEST]`; `latest` without tag and digest. A sentence where it is none. */
export function parseShelfPattern(text: string, config: Upstreams): ShelfPattern | string {
  const [name = '', digest, ...rest] = text.split('@')
  if (rest.length > 0 || (digest !== undefined && !isDigest(digest))) {
    return 'must end in @sha256: and 64 hex digits, or have no @'
  }
  const colon = name.lastIndexOf(':') > name.lastIndexOf('/') ? name.lastIndexOf(':') : name.length
  const given = name.slice(colon + 1)
  const tag = colon < name.length ? given : digest === undefined ? 'latest' : undefined
  const place = placeIn(name.slice(0, colon), config)
  if (typeof place === 'string') return place
  const { upstream, repository } = place
  const capitals = config.upstreams[upstream]?.caseSensitive === true
  if (!isRepositoryName(repository.replaceAll('*', 'x'), { capitals })) {
    return `must name a repository, and ${repository || '(nothing)'} is none`
  }
  if (tag !== undefined && !isTag(tag.replaceAll('*', 'x'))) {
    return `must have a tag behind its last colon, and ${tag || '(nothing)'} is none`
  }
  if (digest !== undefined && `${repository}${tag}`.includes('*')) {
    return 'cannot have wildcards beside a digest'
  }
  return { upstream, repository, tag, digest }
}

/** Tells what of a shelf cannot be; `at` is where it stands. */
export function checkShelf(
  entries: readonly Partial<ShelfEntry>[],
  config: Upstreams,
  tell: TellAt,
  at: readonly string[],
): void {
  for (const [index, { image, newest, schedule }] of entries.entries()) {
    const here = [...at, String(index)]
    const pattern = image === undefined ? undefined : parseShelfPattern(image, config)
    const isThere = entries.findIndex((other) => other.image === image) < index
    if (typeof pattern === 'string') tell([...here, 'image'], pattern)
    else if (image !== undefined && isThere) tell([...here, 'image'], 'is there already')
    else if (newest !== undefined && pattern?.tag?.includes('*') === false) {
      tell([...here, 'newest'], 'has no effect on a tag without *: write one such as v1.*')
    }
    if (schedule !== undefined && !isSchedule(schedule)) {
      const message = 'must be a cron expression of five parts that comes true, such as 0 2 * * *'
      tell([...here, 'schedule'], message)
    }
  }
}

function isSchedule(text: string): boolean {
  if (text.trim().split(/\s+/).length !== 5) return false
  try {
    return new Cron(text, { paused: true }).nextRun() !== null
  } catch {
    return false
  }
}

function placeIn(name: string, { upstreams, defaultUpstream }: Upstreams) {
  const names = Object.keys(upstreams)
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  const upstream = createUpstreamFinder(names)(first)
  const known = names.length === 0 ? 'the config has no upstreams' : `there are ${names.join(', ')}`
  if (upstream !== undefined) return placeAt(upstream, name.slice(slash + 1))
  if (/[.:*]/.test(first)) return `must begin with an upstream, and ${first} is none; ${known}`
  if (defaultUpstream !== undefined) return placeAt(defaultUpstream, name)
  return `must begin with an upstream, because there is no defaultUpstream; ${known}`
}
