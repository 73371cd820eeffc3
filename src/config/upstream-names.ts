// Says which upstream a name means, in a request and on a command line. Pure, and a closed look-up: a
// name is compared with the configured ones and nothing else.
import type { Config } from './schema.ts'
import { isDockerHub } from './registries.ts'
import { createRewriter } from '../rules/rewrite.ts'
import { GatewayError } from '../errors.ts'
import type { Place } from '../oci/place.ts'

/** What a request says about its upstream; an empty text counts as nothing. */
export interface UpstreamHints {
  /** The query parameter `ns`, as containerd sends it: `host` or `host:port`. */
  ns?: string | undefined
  /** The header `X-Registry`. */
  header?: string | undefined
}

type Upstreams = Pick<Config, 'upstreams' | 'defaultUpstream'>

/**
 * Chooses by `ns`, the header, a leading path segment that names an upstream, the default, in this
 * order; the name is the one that the upstream has (`rewrite`), and a segment that names the upstream
 * that `ns` or the header names is dropped. Throws GatewayError NAME_UNKNOWN.
 */
export function createChooser(
  config: Upstreams,
): (asked: UpstreamHints & { name: string }) => Place {
  const named = createLookup(config)
  const findUpstream = createUpstreamFinder(Object.keys(config.upstreams))
  const rewrite = createRewriter(config.upstreams)
  const placed = (upstream: string, name: string) => rewrite(placeAt(upstream, name))

  return (asked) => {
    const upstream = named(asked)
    const slash = asked.name.indexOf('/')
    const leading = findUpstream(asked.name.slice(0, Math.max(slash, 0)))
    // Some mirrors are asked with the upstream's name both ways.
    if (leading !== undefined && (upstream ?? leading) === leading) {
      return placed(leading, asked.name.slice(slash + 1))
    }
    if (upstream !== undefined) return placed(upstream, asked.name)
    if (config.defaultUpstream !== undefined) return placed(config.defaultUpstream, asked.name)
    throw unknown('the request names no upstream, and there is no defaultUpstream')
  }
}

/** The same for requests without a repository, such as the catalog; undefined: none is named. */
export function createUpstreamChooser(
  config: Upstreams,
): (asked: UpstreamHints) => string | undefined {
  return createLookup(config)
}

/** Every look-up among the names that a gateway needs. */
export function createChoosers(config: Upstreams) {
  return {
    place: createChooser(config),
    named: createUpstreamChooser(config),
    isCaseSensitive: (upstream: string) => config.upstreams[upstream]?.caseSensitive === true,
  }
}

/**
 * Finds the upstream that the first part of a path or of an image's name means; undefined: none. A
 * name comes without a port in a path, because image references allow none there: it means the
 * upstream of that host, if there is only one.
 */
export function createUpstreamFinder(
  upstreams: readonly string[],
): (name: string) => string | undefined {
  const names = namesOf(upstreams)
  const hosts = hostsOf(upstreams)
  return (name) => {
    const known = names.get(name) ?? hosts.get(name)
    if (known !== undefined || name === '') return known
    const plain = name.toLowerCase()
    return names.get(canonical(plain)) ?? hosts.get(plain)
  }
}

/** The place of a repository; Docker Hub's one-part names are those of its official images. */
export function placeAt(upstream: string, name: string): Place {
  const isOfficial = canonical(upstream) === 'docker.io' && !name.includes('/')
  return { upstream, repository: isOfficial ? `library/${name}` : name }
}

function createLookup({ upstreams }: Upstreams): (asked: UpstreamHints) => string | undefined {
  const names = namesOf(Object.keys(upstreams))
  return ({ ns, header }) => {
    const asked = [ns, header].find((text) => text !== undefined && text !== '')
    if (asked === undefined) return undefined
    const found = names.get(canonical(asked))
    if (found === undefined) throw unknown('no upstream of this name is configured')
    return found
  }
}

/** Configured names by what clients may call them. */
function namesOf(upstreams: readonly string[]): Map<string, string> {
  const configured = upstreams.map((name) => [name, name] as const)
  return new Map([...configured.map(([name]) => [canonical(name), name] as const), ...configured])
}

/** Configured names by host; a host with several configured ports stands for none of them. */
function hostsOf(upstreams: readonly string[]): Map<string, string> {
  const hosts = Map.groupBy(upstreams, (name) => name.replace(/:\d+$/, ''))
  return new Map(
    [...hosts].flatMap(([host, [only, ...others]]) =>
      only === undefined || others.length > 0 ? [] : [[host, only] as const],
    ),
  )
}

/** Lower-case, without the default port; one name for all of Docker Hub's. */
function canonical(name: string): string {
  const bare = name.toLowerCase().replace(/:443$/, '')
  return isDockerHub(bare) ? 'docker.io' : bare
}

function unknown(what: string): GatewayError {
  return new GatewayError(
    'NAME_UNKNOWN',
    `${what}; the operator of the gateway can add it to upstreams in the config`,
  )
}
