// The configured upstreams, ready to be asked.
import type { Logger } from 'pino'
import type { Config, UpstreamConfig } from '../config/schema.ts'
import { GatewayError, UsageError, type Problem } from '../errors.ts'
import type { Flow, OpenUpstream, Receiver } from '../oci/origin.ts'
import { programVersion } from '../rules/version.ts'
import type { Expiry } from '../rules/expiry.ts'
import { createAgents } from './agents.ts'
import { createAuthorizer } from './auth/authorizer.ts'
import { secretsIn, type CredentialSource } from './auth/credentials.ts'
import { readCredentials } from './auth/read-credentials.ts'
import { openExchange, type Upstream } from './exchange.ts'
import type { FailureSubject } from './failure.ts'
import { foreignLayerRefusal } from './foreign-layer.ts'
import { hostMatcher } from './host-pattern.ts'
import { createFailureLog, type AttemptSample } from './failure-log.ts'
import { openPkcs12Files, readTlsProfile, type OpenedPkcs12, type TlsProfile } from './tls.ts'
import { requestToken } from './auth/token-request.ts'

export interface UpstreamsOptions {
  upstreams: Config['upstreams']
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
  now?: () => number
}

export interface Upstreams {
  open: OpenUpstream
  /** Tells log and metrics what should not be left so; once it is in use. */
  announce: () => void
  /** When the gateway's own certificates for the upstreams end. */
  expiries: readonly Expiry[]
  /**
   * Counts and logs what is wrong with an answer that was passed on as content, such as a body that
   * is no manifest: only its receiver can tell.
   */
  report(upstream: string, error: GatewayError): void
  /** Closes the connections once what is under way has ended. */
  close(): Promise<void>
}

/** Throws UsageError with everything that is wrong with the files that the upstreams name. */
export function createUpstreams(options: UpstreamsOptions): Upstreams {
  const { log, metrics, now = Date.now } = options
  const prepared = readUpstreamFiles(options.upstreams, options.identities)
  const context = { metrics, now, logFailure: createFailureLog(log, now), userAgent: userAgent() }
  const upstreams = new Map(prepared.map((one) => [one.name, createUpstream(one, context)]))

  const underWay = new Set<Promise<void>>()
  let closing: Promise<void> | undefined

  async function close(): Promise<void> {
    // An exchange may still need a token, a redirect or another try.
    await Promise.all(underWay)
    await Promise.all([...upstreams.values()].map(({ agents }) => agents.close()))
  }

  return {
    expiries: prepared.flatMap(({ tls }) => tls.expiries),
    open(request, receiver) {
      const upstream = upstreams.get(request.upstream)
      if (upstream !== undefined) {
        const { url } = request
        const refusal = url === undefined ? undefined : foreignLayerRefusal(upstream, url)
        if (refusal !== undefined) return refused(refusal, receiver)
        const { flow, ended } = openExchange(upstream, request, receiver)
        const over = ended.finally(() => underWay.delete(over))
        underWay.add(over)
        return flow
      }
      return refused(
        new GatewayError('NAME_UNKNOWN', 'no upstream of this name is configured'),
        receiver,
      )
    },
    report(upstream, error) {
      const { reason = 'error' } = error
      metrics.badAnswer(upstream, reason)
      context.logFailure(upstream, { reason, error })
    },
    announce() {
      warn(prepared, log)
      metrics.insecureUpstreams(prepared.filter(isInsecure).map(({ name }) => name))
    },
    close: () => (closing ??= close()),
  }
}

/** An exchange that fails before anybody is asked. */
function refused(error: GatewayError, receiver: Receiver): Flow {
  let isAborted = false
  queueMicrotask(() => {
    if (!isAborted) receiver.fail(error)
  })
  return {
    pause() {},
    resume() {},
    abort() {
      isAborted = true
    },
  }
}

/** An upstream whose files have been read. */
export interface PreparedUpstream {
  name: string
  config: UpstreamConfig
  tls: TlsProfile
  credentials: ReturnType<typeof readCredentials>
}

/** Opens what takes long among the files of the upstreams: those of PKCS#12. Never rejects. */
export async function openIdentities(upstreams: Config['upstreams']): Promise<OpenedPkcs12> {
  return openPkcs12Files(Object.values(upstreams).map(({ tls }) => tls))
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
  const prepared = Object.entries(upstreams).flatMap(([name, config]) => {
    const tls = attempt(() => readTlsProfile(config.tls, `upstreams.${name}.tls`, identities))
    const credentials = attempt(() => readCredentials(name, config))
    if (tls === undefined || credentials === undefined) return []
    return { name, config, tls: tls.value, credentials: credentials.value }
  })
  if (problems.length > 0) throw new UsageError(problems)
  return prepared
}

interface Context {
  metrics: UpstreamsOptions['metrics']
  logFailure: ReturnType<typeof createFailureLog>
  userAgent: string
  now: () => number
}

export function createUpstream(
  { name, config, tls, credentials }: PreparedUpstream,
  context: Context,
): Upstream {
  const { metrics, now, userAgent } = context
  const url = new URL(config.url)
  const agents = createAgents(config, tls)
  const subject: FailureSubject = {
    title: `the upstream ${name}`,
    at: `upstreams.${name}`,
    hasProxy: config.proxy !== undefined,
    hasClientCertificate: tls.hasClientCertificate,
  }
  let secrets: readonly string[] = []
  const noting = (source: CredentialSource): CredentialSource => ({
    get: async (refused) => {
      const given = await source.get(refused)
      secrets = secretsIn(given)
      return given
    },
  })
  const authorizer = createAuthorizer({
    upstream: url,
    credentials: credentials && noting(credentials),
    fallback: config.auth.fallback,
    onRefusal: (failure) => {
      metrics.badAnswer(name, failure.reason)
      context.logFailure(name, failure)
    },
    allowedRealm: hostMatcher(config.auth.realms),
    subject,
    now,
    requestToken: (question) => {
      const isOwn = question.realm.origin === url.origin
      return requestToken(question, {
        dispatcher: isOwn ? agents.own : agents.foreign,
        userAgent,
        timeout: config.headersTimeout,
        subject: {
          ...subject,
          title: `the token service of the upstream ${name}`,
          ...(isOwn ? {} : { host: question.realm.host }),
          hasClientCertificate: isOwn && subject.hasClientCertificate,
        },
        now,
      })
    },
  })
  return {
    name,
    url,
    userAgent,
    agents,
    authorizer,
    allowedRedirect: hostMatcher(config.redirects),
    foreignLayers: config.foreignLayers,
    subject,
    secrets: () => secrets,
    onAttempt: metrics.attempt,
    onFailure: (failure) => context.logFailure(name, failure),
    now,
  }
}

function isInsecure({ config }: PreparedUpstream): boolean {
  return !config.tls.verify
}

function warn(prepared: readonly PreparedUpstream[], log: Logger): void {
  for (const one of prepared) {
    const { name: upstream, tls } = one
    if (isInsecure(one)) {
      log.warn(
        { upstream },
        `INSECURE: upstreams.${upstream}.tls.verify is false, so whoever answers there is believed; set tls.ca instead`,
      )
    }
    for (const { path, message } of tls.warnings) log.warn({ upstream }, `${path} ${message}`)
  }
}

export function userAgent(): string {
  return `portcullis/${programVersion()}`
}
