// What a request of another replica wants: that something is fetched, or only what is here.
import type { IncomingMessage } from 'node:http'
import type { Cache } from '../cache/cache.ts'
import { GatewayError } from '../errors.ts'
import type { AtHand } from '../oci/origin.ts'
import { replicaHeader, replicaVersions } from '../oci/via.ts'
import type { Exchange } from './request-record.ts'
import type { Target } from './target.ts'

/** Throws GatewayError REQUEST_INVALID where it asks in a way that is not known here: others will do. */
export function comesFromReplica({ headers }: IncomingMessage): boolean {
  const version = headers[replicaHeader]
  if (version === undefined) return false
  if (version === replicaVersions.fetching || version === replicaVersions.looking) return true
  throw new GatewayError('REQUEST_INVALID', 'a replica of another version asks')
}

export interface LookOptions {
  cache: Pick<Cache, 'atHand'>
  /** Whether another worker of this gateway has it, or is fetching it; absent where nobody else is asked. */
  lookElsewhere?: ((...what: Parameters<Cache['atHand']>) => Promise<AtHand>) | undefined
}

/** Answers one that only looks. Returns false where it wants content, which may be sent as to anybody. */
export function answerLook(
  { cache, lookElsewhere }: LookOptions,
  exchange: Exchange,
  { place, resource }: Target,
): boolean | Promise<boolean> {
  const { [replicaHeader]: version, 'cache-control': control } = exchange.req.headers
  const isLook = version === replicaVersions.looking && control === 'only-if-cached'
  if (!isLook || place === undefined) return false
  if (resource.kind !== 'manifest' && resource.kind !== 'blob') return false
  if (resource.digest === undefined) return false
  const what = [place, resource.digest, resource.kind] as const
  const found = cache.atHand(...what)
  if (found === 'here' || lookElsewhere === undefined) return answerFound(exchange, found)
  return lookElsewhere(...what).then((there) => answerFound(exchange, there ?? found))
}

/** Returns false where content is to be sent. */
function answerFound({ req, res }: Exchange, found: AtHand): boolean {
  const isHead = req.method === 'HEAD'
  if (found === 'here' && !isHead) return false
  const isToldOf = found === 'here' || (found === 'elsewhere' && isHead)
  // There are several for each thing that is fetched, and none is a pull: no line of the log, no sample.
  res.writeHead(isToldOf ? 200 : 504, {
    'content-length': 0,
    // Not without asking the origin (RFC 9111 section 5.2.2.4).
    ...(found === 'elsewhere' ? { 'cache-control': 'no-cache' } : {}),
  })
  res.end()
  return true
}
