// What clients ask, wired: from a connection to its answer, and the record of it; and what other workers ask.
import type { RequestListener } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Cache } from './cache/cache.ts'
import type { Config } from './config/schema.ts'
import { createServer } from './listener/server.ts'
import type { Reporting } from './live.ts'
import type { Traces } from './log/traces.ts'
import type { Memories } from './oversight.ts'
import { createAnswers } from './registry/answer.ts'
import { createPull, type PullOptions } from './registry/pull.ts'
import { createRequestLog } from './registry/record/request-line.ts'
import { createRecorder, type Recorder } from './registry/request-record.ts'
import { createRegistryServer } from './registry/server.ts'
import { createShares } from './registry/shares.ts'
import type { Current } from './renewal.ts'
import type { Background } from './transfer/background.ts'

export interface ServingOptions extends Omit<Reporting, 'audit' | 'own'> {
  current: Current
  cache: Cache
  background: Background
  /** The origins whose pages may call the gateway from a browser. */
  origins: () => readonly string[]
  recent: Memories
  traces: Traces | undefined
  lookElsewhere: PullOptions['lookElsewhere']
}

/** Listener, who is calling, policy, what is meant, cache. `forWorkers` answers those of this gateway. */
export function wireRegistry(
  config: Config,
  options: ServingOptions,
): { registry: FastifyInstance; forWorkers: RequestListener } {
  const { current, cache, background, log, metrics, pseudonym, origins, recent, traces } = options
  const { lookElsewhere } = options
  const record = createRecorder(createRequestLog(log), metrics.request, (exchange) => {
    const { resource, place, digest, req, error } = exchange
    const isByTag = resource?.kind === 'manifest' && resource.tag !== undefined
    if (isByTag && current.live.config.audit.tagPulls) current.live.onTagPull(exchange)
    if (place === undefined || digest === undefined || error !== undefined) return
    if (req.method === 'GET') background.note(place, digest)
  })
  const limits = limitsOf(current)
  const takeShare = createShares({ limits, onRefusal: metrics.refusedCaller })
  const pulling = (recordBy: Recorder): PullOptions => ({
    cache,
    live: () => current.live,
    pseudonym,
    answers: createAnswers(recordBy),
    record: recordBy,
    takeShare,
  })
  const registry = createRegistryServer({
    pull: createPull({
      ...pulling(record),
      lookElsewhere,
      onLeft: metrics.inFlight,
      beginSpan: traces?.begin,
    }),
    takeShare,
    tokens: () => current.live.tokens,
    record,
    origins,
    listener: (handler) =>
      createServer(config.listen, {
        handler,
        log,
        limits,
        onHandshake: metrics.handshake,
        onHandshakeFailure: metrics.handshakeFailure,
        onConnectionRefused: recent.onConnectionRefused,
        onRefusedCaller: metrics.refusedCaller,
      }),
  })
  // The client's request is told and counted where the client asks.
  const forWorkers = createPull({ ...pulling(() => undefined), isForWorkers: true })
  return { registry, forWorkers }
}

/** The limits in force, for whoever asks later. */
export function limitsOf(current: Current) {
  return () => current.live.config.listen.limits
}
