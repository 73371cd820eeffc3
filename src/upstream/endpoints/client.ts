// The client of one endpoint: its connections, its credentials, what went wrong there last.
import type { EndpointConfig } from '../../config/upstream/endpoints.ts'
import { programVersion } from '../../rules/version.ts'
import { createAgents, type Agents } from '../agents.ts'
import { createAuthorizer } from '../auth/authorizer.ts'
import { secretsIn, type CredentialSource } from '../auth/credentials.ts'
import { requestToken } from '../auth/token-request.ts'
import type { Upstream } from '../exchange.ts'
import type { AttemptSample, createFailureLog } from '../failure-log.ts'
import type { FailureSubject } from '../failure.ts'
import { hostMatcher } from '../host-pattern.ts'
import { modeOf } from '../tls.ts'
import type { EndpointClient, LastFailure } from './choice.ts'
import type { PreparedUpstream } from './files.ts'

export interface ClientContext {
  metrics: {
    attempt: (sample: AttemptSample) => void
    badAnswer: (upstream: string, reason: string) => void
  }
  logFailure: ReturnType<typeof createFailureLog>
  userAgent: string
  pseudonym: string
  now: () => number
}

/** The client of an endpoint, and what went wrong there last. */
export function createEndpointClient(
  prepared: PreparedUpstream,
  context: ClientContext,
): EndpointClient {
  let last: LastFailure | undefined
  const { config, tls } = prepared
  const client = createUpstream(
    { ...prepared, agents: createAgents(config, tls) },
    {
      ...context,
      logFailure(name, failure) {
        const { reason, error } = failure
        const { message, cause } = error
        const detail = cause instanceof Error ? { cause: cause.message } : {}
        last = { at: context.now(), reason, message, ...detail }
        context.logFailure(name, failure)
      },
    },
  )
  const isPlain = client.url.protocol === 'http:'
  return {
    client,
    mode: isPlain ? 'plain' : modeOf(tls.hasClientCertificate, config.tls.verify),
    lastFailure: () => last,
  }
}

/** What of its config a client needs. */
export type ClientConfig = Pick<
  EndpointConfig,
  | 'url'
  | 'gateway'
  | 'auth'
  | 'redirects'
  | 'foreignLayers'
  | 'proxy'
  | 'connectTimeout'
  | 'headersTimeout'
  | 'stallTimeout'
>

export function createUpstream(
  {
    name,
    at,
    config,
    tls,
    credentials,
    agents,
  }: Pick<PreparedUpstream, 'name' | 'at' | 'credentials'> & {
    config: ClientConfig
    tls: { hasClientCertificate: boolean }
    agents: Agents
  },
  context: ClientContext,
): Upstream {
  const { metrics, now, userAgent, pseudonym } = context
  const url = new URL(config.url)
  const subject: FailureSubject = {
    title: at === `upstreams.${name}` ? `the upstream ${name}` : `${url.host}, for ${name},`,
    at,
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
          title: `the token service of ${subject.title}`,
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
    namespace: config.gateway ? name : undefined,
    userAgent,
    pseudonym,
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

export function userAgent(): string {
  return `portcullis/${programVersion()}`
}
