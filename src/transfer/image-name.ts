// Names of images as people and archives write them, and the place that each of them means.
import { UsageError } from '../errors.ts'
import type { Config } from '../config/schema.ts'
import { createUpstreamFinder, placeAt } from '../config/upstream-names.ts'
import { createRewriter } from '../rules/rewrite.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import { isRepositoryName, isTag } from '../oci/resource.ts'

/** The part of the config that names depend on. */
export interface Naming {
  upstreams: readonly string[]
  defaultUpstream: string | undefined
  /** Whether the names of an upstream's repositories may have capitals; none may when absent. */
  isCaseSensitive?: (upstream: string) => boolean
  /** Gives a repository the name that its upstream has for it. */
  rewrite?: (place: Place) => Place
}

export function namingOf(config: Pick<Config, 'upstreams' | 'defaultUpstream'>): Naming {
  return {
    upstreams: Object.keys(config.upstreams),
    defaultUpstream: config.defaultUpstream,
    isCaseSensitive: (upstream) => config.upstreams[upstream]?.caseSensitive === true,
    rewrite: createRewriter(config.upstreams),
  }
}

/** One image: a tag, a digest, or both of a repository. */
export interface ImageName extends Place {
  tag?: string | undefined
  digest?: Digest | undefined
}

/** `UPSTREAM[/REPOSITORY[:TAG]]` of `import --as`. */
export interface Destination {
  upstream: string
  repository?: string
  tag?: string
}

/** What an archive calls an image; all of it may be missing. */
export interface GivenName {
  /** As docker writes references: maybe with a registry's host before it. */
  repository?: string
  tag?: string
}

/**
 * `[UPSTREAM/]REPOSITORY[:TAG][@DIGEST]` of a command line. Without tag and digest it is `latest`.
 * Throws UsageError where it is malformed or its upstream is not configured.
 */
export function parseImage(text: string, naming: Naming): ImageName {
  const [name = '', digest, ...rest] = text.split('@')
  const given = splitName(name)
  const fail = (message: string) => new UsageError([{ path: text, message }])
  if (rest.length > 0 || (digest !== undefined && !isDigest(digest))) {
    throw fail('must end in @sha256: and 64 hex digits, or have no @')
  }
  const place = placeOf(given.repository ?? '', naming)
  if (typeof place === 'string') throw fail(place)
  if (given.tag !== undefined && !isTag(given.tag)) throw fail(`${given.tag} is no valid tag`)
  const tag = given.tag ?? (digest === undefined ? 'latest' : undefined)
  return {
    ...(naming.rewrite?.(place) ?? place),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

/** The same as one name: of a tag and a digest together the digest. */
export function parseReference(text: string, naming: Naming): Place & { reference: string } {
  const { upstream, repository, tag = 'latest', digest = tag } = parseImage(text, naming)
  return { upstream, repository, reference: digest }
}

/** `docker.io/library/alpine:3.20`, as `parseImage` reads it. */
export function formatImage({ upstream, repository, tag, digest }: ImageName): string {
  const suffix = `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
  return `${upstream}/${repository}${suffix}`
}

/** Reads `--as`. Throws UsageError, naming the upstreams there are, where it names none of them. */
export function parseDestination(text: string, naming: Naming): Destination {
  const fail = (message: string) => new UsageError([{ path: '--as', message }])
  const [first = '', ...rest] = text.split('/')
  const upstream = configured(first, naming)
  if (upstream === undefined) throw fail(`${first} is no upstream; ${known(naming)}`)
  if (rest.length === 0) return { upstream }
  const { repository = '', tag } = splitName(rest.join('/'))
  const problem = wrongWith(repository, tag, naming.isCaseSensitive?.(upstream))
  if (problem !== undefined) throw fail(problem)
  return { ...placeAt(upstream, repository), ...(tag === undefined ? {} : { tag }) }
}

/** `a/b:c@d` without its digest in two parts; a colon before the last slash is a host's port. */
export function splitName(reference: string): GivenName {
  const [text = ''] = reference.split('@')
  const colon = text.lastIndexOf(':')
  if (colon <= text.lastIndexOf('/')) return { repository: text }
  return { repository: text.slice(0, colon), tag: text.slice(colon + 1) }
}

/**
 * Where an image of an archive belongs: what `as` leaves open is taken from the archive's name for
 * it. A sentence where that is not enough, or is wrong.
 */
export function destinationOf(
  given: GivenName,
  as: Destination | undefined,
  naming: Naming,
): ImageName | string {
  const place =
    as?.repository === undefined
      ? placeOfGiven(given, as, naming)
      : { upstream: as.upstream, repository: as.repository }
  if (typeof place === 'string') return place
  const tag = as?.tag ?? given.tag
  if (tag !== undefined && !isTag(tag)) return `has the name ${tag}, which is no valid tag`
  return { ...place, ...(tag === undefined ? {} : { tag }) }
}

function placeOfGiven(
  { repository }: GivenName,
  as: Destination | undefined,
  naming: Naming,
): Place | string {
  if (repository === undefined) {
    return 'has no name: say where it belongs with --as UPSTREAM/REPOSITORY:TAG'
  }
  if (as === undefined) return placeOf(repository, naming)
  const { rest } = hostIn(repository, naming)
  const capitals = naming.isCaseSensitive?.(as.upstream)
  return wrongWith(rest, undefined, capitals) ?? placeAt(as.upstream, rest)
}

/** The place of a name with or without a registry's host, or a sentence about what is wrong. */
function placeOf(name: string, naming: Naming): Place | string {
  const { host, rest } = hostIn(name, naming)
  const upstream = host === undefined ? naming.defaultUpstream : configured(host, naming)
  if (upstream === undefined) {
    return host === undefined
      ? `${name} names no upstream and there is no defaultUpstream; ${known(naming)}`
      : `${host} is no upstream; ${known(naming)}`
  }
  const capitals = naming.isCaseSensitive?.(upstream)
  return wrongWith(rest, undefined, capitals) ?? placeAt(upstream, rest)
}

/** By docker's rule a first part with a dot or a port, or `localhost`, is a host; so is an upstream. */
function hostIn(name: string, naming: Naming): { host?: string; rest: string } {
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  const isHost = /[.:]/.test(first) || first === 'localhost' || configured(first, naming)
  return isHost ? { host: first, rest: name.slice(slash + 1) } : { rest: name }
}

/** The upstream that `host` means, as it does in a request's path. */
function configured(host: string, { upstreams }: Naming): string | undefined {
  return createUpstreamFinder(upstreams)(host)
}

function wrongWith(
  repository: string,
  tag: string | undefined,
  capitals = false,
): string | undefined {
  if (!isRepositoryName(repository, { capitals })) {
    return `${repository || '(nothing)'} is no repository name`
  }
  return tag === undefined || isTag(tag) ? undefined : `${tag} is no valid tag`
}

function known({ upstreams }: Naming): string {
  return upstreams.length === 0
    ? 'the config has no upstreams'
    : `there are ${upstreams.join(', ')}`
}
