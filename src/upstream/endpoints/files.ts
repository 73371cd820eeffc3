// Reads the files that the endpoints of the upstreams name: certificates, keys, credentials.
import type { Config } from '../../config/schema.ts'
import { endpointsOf, type EndpointConfig } from '../../config/upstream/endpoints.ts'
import { UsageError, type Problem } from '../../errors.ts'
import { readCredentials } from '../auth/read-credentials.ts'
import { openPkcs12Files, readTlsProfile, type OpenedPkcs12, type TlsProfile } from '../tls.ts'

/** An endpoint of an upstream whose files have been read. */
export interface PreparedUpstream {
  /** That of the upstream. */
  name: string
  /** Its section of the config, such as `upstreams.docker.io.endpoints.0`. */
  at: string
  config: EndpointConfig
  tls: TlsProfile
  credentials: ReturnType<typeof readCredentials>
}

/** Opens what takes long among the files of the upstreams: those of PKCS#12. Never rejects. */
export async function openIdentities(upstreams: Config['upstreams']): Promise<OpenedPkcs12> {
  return openPkcs12Files(allEndpoints(upstreams).map(({ config }) => config.tls))
}

function allEndpoints(upstreams: Config['upstreams']) {
  return Object.entries(upstreams).flatMap(([name, upstream]) =>
    endpointsOf(name, upstream).map((endpoint) => ({ ...endpoint, name })),
  )
}

/**
 * Reads and checks the files that the upstreams name; `identities` has those of PKCS#12. Throws
 * UsageError with every problem.
 */
export function readUpstreamFiles(
  upstreams: Config['upstreams'],
  identities: OpenedPkcs12 = new Map(),
): PreparedUpstream[] {
  const problems: Problem[] = []
  const attempt = <Value>(read: () => Value): { value: Value } | undefined => {
    try {
      return { value: read() }
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      problems.push(...error.problems)
      return undefined
    }
  }
  const prepared = allEndpoints(upstreams).flatMap(({ name, at, config }) => {
    const tls = attempt(() => readTlsProfile(config.tls, `${at}.tls`, identities))
    const credentials = attempt(() => readCredentials(name, { at, config }))
    if (tls === undefined || credentials === undefined) return []
    return { name, at, config, tls: tls.value, credentials: credentials.value }
  })
  if (problems.length > 0) throw new UsageError(problems)
  return prepared
}
