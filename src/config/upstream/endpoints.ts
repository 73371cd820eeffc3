// The endpoints of one upstream, in the order in which they are asked.
import type { UpstreamConfig } from '../schema.ts'

/** An upstream as it is asked at one of its endpoints. */
export interface Endpoint {
  /** The section of the config that says so, such as `upstreams.docker.io.endpoints.0`. */
  at: string
  config: EndpointConfig
}

export type EndpointConfig = Omit<UpstreamConfig, 'url' | 'endpoints'> & { url: string }

/** The upstream's own `url` first, where it has one, then its `endpoints`. */
export function endpointsOf(name: string, upstream: UpstreamConfig): Endpoint[] {
  const { url, endpoints, ...own } = upstream
  const { proxy: _, ...shared } = own
  const at = `upstreams.${name}`
  const others = endpoints.map((endpoint, index) => ({
    at: `${at}.endpoints.${index}`,
    config: { ...shared, ...endpoint },
  }))
  return url === undefined ? others : [{ at, config: { ...own, url } }, ...others]
}
