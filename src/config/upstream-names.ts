// Which upstream a request means. Pure, and a closed look-up: what a client sends is compared with
// the configured names and nothing else.
import type { Config } from './schema.ts'
import { isDockerHub } from './registries.ts'
import { GatewayError } from '../errors.ts'
import type { Place } from '../oci/place.ts'

/** What a request says about its upstream; an empty text counts as nothing. */
export interface Asked {
  /** The query parameter `ns`, as containerd sends it: `host` or `host:port`. */
  ns?: string | undefined
  /** The header `X-Registry`. */
  header?: string | undefined
}

type Upstreams = Pick<Config, 'upstreams' | 'defaultUpstream'>

/**
 * Chooses by `ns`, the header, a leading path segment that names an upstream, the default, in this
 * order. A name comes without a port in a path, because image references allow none there: it
 * means the upstream of that host, if there is only one. Throws GatewayError NAME_UNKNOWN.
 */
export function createChooser(config: Upstreams): (asked: Asked & { name: string }) => Place {
  const named = createLookup(config)
  const byPath = pathNames(config)

  return (asked) => {
    const upstream = named(asked)
    if (upstream !== undefined) return placeOf(upstream, asked.name)
    const slash = asked.name.indexOf('/')
    const leading = byPath.get(asked.name.slice(0, Math.max(slash, 0)))
    if (leading !== undefined) return placeOf(leading, asked.name.slice(slash + 1))
    if (config.defaultUpstream !== undefined) return placeOf(config.defaultUpstream, asked.name)
    throw unknown('the request names no upstream, and there is no defaultUpstream')
  }
}

/** The same for requests without a repository, such as the catalog; undefined: none is named. */
export function createUpstreamChooser(config: Upstreams): (asked: Asked) => string | undefined {
  return createLookup(config)
}

function createLookup({ upstreams }: Upstreams): (asked: Asked) => string | undefined {
  const names = namesOf(upstreams)
  return ({ ns, header }) => {
    const asked = [ns, header].find((text) => text !== undefined && text !== '')
    if (asked === undefined) return undefined
    const found = names.get(canonical(asked))
    if (found === undefined) throw unknown('no upstream of this name is configured')
    return found
  }
}

/** Configured names by what clients may call them. */
function namesOf(upstreams: Config['upstreams']): Map<string, string> {
  const configured = Object.keys(upstreams).map((name) => [name, name] as const)
  return new Map([...configured.map(([name]) => [canonical(name), name] as const), ...configured])
}

/** What a path may begin with; a host with several configured ports stands for none of them. */
function pathNames({ upstreams }: Upstreams): Map<string, string> {
  const names = namesOf(upstreams)
  const hosts = Map.groupBy(Object.keys(upstreams), (name) => name.replace(/:\d+$/, ''))
  for (const [host, [only, ...others]] of hosts) {
    if (only !== undefined && others.length === 0 && !names.has(host)) names.set(host, only)
  }
  const hub = names.get('docker.io')
  if (hub === undefined) return names
  return new Map([...names, ['index.docker.io', hub], ['registry-1.docker.io', hub]])
}

/** Lower-case, without the default port; one name for all of Docker Hub's. */
function canonical(name: string): string {
  const bare = name.toLowerCase().replace(/:443$/, '')
  return isDockerHub(bare) ? 'docker.io' : bare
}

/** Docker Hub's one-part names are those of its official images. */
function placeOf(upstream: string, name: string): Place {
  const isOfficial = canonical(upstream) === 'docker.io' && !name.includes('/')
  return { upstream, repository: isOfficial ? `library/${name}` : name }
}

function unknown(what: string): GatewayError {
  return new GatewayError(
    'NAME_UNKNOWN',
    `${what}; the operator of the gateway can add it to upstreams in the config`,
  )
}
