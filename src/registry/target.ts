// What a request asks for: a resource of one repository of one upstream.
import type { IncomingHttpHeaders } from 'node:http'
import type { UpstreamHints } from '../config/upstream-names.ts'
import { GatewayError } from '../errors.ts'
import type { Place } from '../oci/place.ts'
import { clientHeader } from '../oci/via.ts'
import { invalidName, isRepositoryName, parseResource, type Resource } from '../oci/resource.ts'

/** A look-up among the configured upstreams; throws GatewayError NAME_UNKNOWN. */
export interface Chooser {
  place: (asked: UpstreamHints & { name: string }) => Place
  /** The upstream that is named, for what belongs to no repository. */
  named: (asked: UpstreamHints) => string | undefined
  /** Whether the names of its repositories may have capitals. */
  isCaseSensitive: (upstream: string) => boolean
}

export interface Target {
  resource: Resource
  /** Absent where the resource belongs to no repository: `/v2/` and the catalog. */
  place: Place | undefined
  /** The upstream that the request names by `ns` or by header, for resources of no repository. */
  upstream: string | undefined
  /** `ns` as it came; answered as `OCI-Namespace`. */
  namespace: string | undefined
  /** Raw path, and what follows its question mark. */
  path: string
  query: URLSearchParams | undefined
}

/**
 * Reads the raw request target and the `X-Registry` header. A replica asks by the upstream's own names.
 * @throws GatewayError NAME_INVALID, NAME_UNKNOWN, DIGEST_INVALID, MANIFEST_UNKNOWN, NOT_FOUND,
 *   REQUEST_INVALID
 */
export function readTarget(
  url: string,
  registry: string | undefined,
  choose: Chooser,
  isReplica = false,
): Target {
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const query = mark < 0 ? undefined : new URLSearchParams(url.slice(mark + 1))
  const namespace = query === undefined ? undefined : namespaceIn(query)
  const { prefix, rest } = withoutPrefix(path)
  const resource = parseResource(rest)
  const asked = { ns: namespace, header: registry ?? prefix }
  if (resource.kind === 'base' || resource.kind === 'catalog') {
    const upstream = choose.named(asked)
    return { resource, place: undefined, upstream, namespace, path, query }
  }
  const own = isReplica ? choose.named(asked) : undefined
  const place: Place =
    own === undefined
      ? choose.place({ ...asked, name: resource.name })
      : { upstream: own, repository: resource.name, isOfReplica: true }
  if (!isNameThere(choose, place)) throw invalidName()
  return { resource, place, upstream: place.upstream, namespace, path, query }
}

/** `/docker.io/v2/...`: what a client makes of a mirror whose URL has a path. */
const prefixed = /^\/([^/]+)(\/v2(?:\/.*)?)$/s

function withoutPrefix(path: string): { prefix: string | undefined; rest: string } {
  const match = path.startsWith('/v2/') ? null : prefixed.exec(path)
  return { prefix: match?.[1], rest: match?.[2] ?? path }
}

/** Whether a request is one of the pull API, by its raw target. */
export function isRegistryTarget(url: string): boolean {
  return url.startsWith('/v2/') || /^(?:\/[^/?]+)?\/v2(?:[/?]|$)/.test(url)
}

/** Whether a name, without that of its upstream, is one of the grammar. */
function isNameThere({ isCaseSensitive }: Chooser, { upstream, repository }: Place): boolean {
  return isRepositoryName(repository, { capitals: isCaseSensitive(upstream) })
}

function namespaceIn(query: URLSearchParams): string | undefined {
  const given = query.getAll('ns')
  if (given.length > 1) throw new GatewayError('REQUEST_INVALID', 'ns may be given once only')
  return given[0]
}

/** The place that a name alone means, as clients and tokens write it; undefined where it means none. */
export function placeNamed(choose: Chooser, name: string): Place | undefined {
  try {
    const place = choose.place({ ns: undefined, header: undefined, name })
    return isNameThere(choose, place) ? place : undefined
  } catch {
    return undefined
  }
}

/** Another worker asks, which says for whom; `isReplica`: for another replica. */
export function markAsOfWorker(
  { place }: Target,
  { [clientHeader]: client }: IncomingHttpHeaders,
  isReplica: boolean,
): void {
  if (place === undefined) return
  place.isOfWorker = true
  place.isOfReplica = isReplica
  if (typeof client === 'string') place.client = clientIn(client)
}

function clientIn(header: string): string {
  try {
    return decodeURIComponent(header)
  } catch (cause) {
    const message = `${clientHeader} cannot be decoded`
    throw new GatewayError('REQUEST_INVALID', message, { cause })
  }
}

/** Throws GatewayError NOT_FOUND where the resource is of no repository. */
export function placeOf({ place }: Target): Place {
  if (place === undefined) throw new GatewayError('NOT_FOUND', 'no such endpoint')
  return place
}
