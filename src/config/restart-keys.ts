// What a running gateway cannot change: its addresses, how it asks for certificates, its cache,
// where traces go, the form of its log, how many processes it is.
import { isDeepStrictEqual } from 'node:util'
import type { Problem } from '../errors.ts'
import type { Config } from './schema.ts'

/** A problem for each key that differs and needs a restart. */
export function fixedKeys(now: Config, next: Config): Problem[] {
  const of = ({ listen, admin, cache, traces, log, workers }: Config): Record<string, unknown> => ({
    'listen.host': listen.host,
    'listen.port': listen.port,
    'listen.insecureHttp': listen.insecureHttp,
    'listen.proxyProtocol': listen.proxyProtocol,
    'listen.tls.clientAuth': listen.tls.clientAuth,
    'admin.host': admin.host,
    'admin.port': admin.port,
    'admin.tls.clientAuth': admin.tls.clientAuth,
    'admin.tls.cert': admin.tls.cert === undefined ? 'no TLS' : 'TLS',
    cache,
    traces,
    'log.pretty': log.pretty,
    workers,
  })
  const before = of(now)
  return Object.entries(of(next))
    .filter(([key, value]) => !isDeepStrictEqual(value, before[key]))
    .map(([path]) => ({ path, message: 'cannot change while the gateway runs: restart it' }))
}
