// The configured upstreams, ready to be asked.
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { hasReplicas } from '../config/upstream/replica-checks.ts'
import type { ReplicasConfig } from '../config/upstream/replicas.ts'
import { GatewayError } from '../errors.ts'
import { createFailedFlow, type OpenUpstream, type OriginResponse } from '../oci/origin.ts'
import { newPseudonym } from '../oci/via.ts'
import type { Expiry } from '../rules/expiry.ts'
import { createEndpoints, type EndpointStatus } from './endpoints/choice.ts'
import { createEndpointClient, userAgent, type ClientContext } from './endpoints/client.ts'
import { readUpstreamFiles, type PreparedUpstream } from './endpoints/files.ts'
import { createFailureLog, type AttemptSample } from './failure-log.ts'
import { foreignLayerRefusal } from './endpoints/foreign-layer.ts'
import type { OwnAddress } from './replicas/members.ts'
import { createReplicas } from './replicas/replicas.ts'
import { insecureWarning, type OpenedPkcs12 } from './tls.ts'

export interface UpstreamsOptions {
  upstreams: Config['upstreams']
  /** The gateways that this one shares the work with; none unless told. */
  replicas?: { config: ReplicasConfig; own: OwnAddress }
  /** Of `openIdentities`. */
  identities?: OpenedPkcs12
  log: Logger
  metrics: {
    attempt: (sample: AttemptSample) => void
    /** An answer that was passed on as content is of no use. */
    badAnswer: (upstream: string, reason: string) => void
    /** The upstreams whose certificate is not checked. */
    insecureUpstreams: (names: readonly string[]) => void
  }
  /** What this gateway calls itself to others; a new name unless told. */
  pseudonym?: string
  now?: () => number
}

/** What an operator wants to know of one upstream. */
export interface UpstreamStatus {
  upstream: string
  /** The one that is asked first now. */
  inUse: EndpointStatus
  /** All of them, in the order of the config. */
  endpoints: EndpointStatus[]
  /** Fewer pulls are left there than `quotaFloor`. */
  isQuotaShort: boolean
}

export interface Upstreams {
  open: OpenUpstream
  /** How each of them fares, in the order of the config. */
  status: () => UpstreamStatus[]
  /** Whether fewer pulls than `quotaFloor` are left at an upstream. */
  isQuotaShort: (upstream: string) => boolean
  /** Tells log and metrics what should not be left so; once it is in use. */
  announce: () => void
  /** When the gateway's own certificates for the upstreams end. */
  expiries: readonly Expiry[]
  /**
   * Counts and logs what is wrong with an answer that was passed on as content, such as a body that
   * is no manifest: only its receiver can tell. Whoever sent `answer` is passed over for a while.
   */
  report(upstream: string, error: GatewayError, answer?: OriginResponse): void
  /** Closes the connections once what is under way has ended. */
  close(): Promise<void>
}

/** Throws UsageError with everything that is wrong with the files that the upstreams name. */
export function createUpstreams(options: UpstreamsOptions): Upstreams {
  const { log, metrics, pseudonym = newPseudonym(), now = Date.now } = options
  const prepared = readUpstreamFiles(options.upstreams, options.identities)
  const logFailure = createFailureLog(log, now)
  const context: ClientContext = { metrics, now, logFailure, userAgent: userAgent(), pseudonym }
  const upstreams = new Map(
    [...Map.groupBy(prepared, ({ name }) => name)].map(([name, own]) => {
      const clients = own.map((one) => createEndpointClient(one, context))
      const endpoints = createEndpoints(clients, now)
      return [name, { ...endpoints, clients, config: options.upstreams[name] }] as const
    }),
  )

  const replicas =
    options.replicas && hasReplicas(options.replicas.config)
      ? createReplicas(options.replicas.config, { ...context, log, own: options.replicas.own })
      : undefined

  const underWay = new Set<Promise<void>>()
  let closing: Promise<void> | undefined

  async function close(): Promise<void> {
    // An exchange may still need a token, a redirect or another try.
    await Promise.all(underWay)
    const clients = [...upstreams.values()].flatMap((upstream) => upstream.clients)
    await Promise.all([replicas?.close(), ...clients.map(({ client }) => client.agents.close())])
  }

  return {
    expiries: [...prepared.flatMap(({ tls }) => tls.expiries), ...(replicas?.expiries ?? [])],
    open(request, receiver) {
      const upstream = upstreams.get(request.upstream)
      if (upstream !== undefined) {
        const { url, way } = request
        if (way) way.isOwn = false
        const [first] = upstream.clients
        const refusal = url && first && foreignLayerRefusal(first.client, url)
        if (refusal) return createFailedFlow(refusal, receiver)
        const { flow, ended } = upstream.open(request, receiver, replicas?.candidates(request))
        const over = ended.finally(() => underWay.delete(over))
        underWay.add(over)
        return flow
      }
      return createFailedFlow(
        new GatewayError('NAME_UNKNOWN', 'no upstream of this name is configured'),
        receiver,
      )
    },
    status: () =>
      [...upstreams].map(([upstream, { inUse, status, isQuotaShort, config }]) => ({
        upstream,
        inUse: inUse(),
        endpoints: status(),
        isQuotaShort: isQuotaShort(config?.quotaFloor ?? 0),
      })),
    isQuotaShort(name) {
      const { isQuotaShort, config } = upstreams.get(name) ?? {}
      return isQuotaShort?.(config?.quotaFloor ?? 0) === true
    },
    report(upstream, error, answer) {
      answer?.distrust?.()
      const { reason = 'error' } = error
      metrics.badAnswer(upstream, reason)
      context.logFailure(upstream, { reason, error })
    },
    announce() {
      warn(prepared, log)
      replicas?.start()
      metrics.insecureUpstreams([...new Set(prepared.filter(isInsecure).map(({ name }) => name))])
    },
    close: () => (closing ??= close()),
  }
}

function isInsecure({ config }: PreparedUpstream): boolean {
  return !config.tls.verify
}

function warn(prepared: readonly PreparedUpstream[], log: Logger): void {
  for (const one of prepared) {
    const { name: upstream, at, tls } = one
    if (isInsecure(one)) log.warn({ upstream }, insecureWarning(`${at}.tls`))
    for (const { path, message } of tls.warnings) log.warn({ upstream }, `${path} ${message}`)
  }
}
