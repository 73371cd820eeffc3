// Tells whether pulls can be served, and what is wrong besides.
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import type { Expiry } from '../rules/expiry.ts'
import { createCertificateCheck, type ListenerProblems } from './certificates.ts'

export interface Readiness {
  ok: boolean
  /** Why pulls cannot be served, one sentence each. */
  problems: string[]
  /** What is wrong besides: pulls are served all the same, and the gateway stays in service. */
  warnings: string[]
}

/** Problems and warnings from elsewhere. */
interface Others {
  problems: readonly string[]
  warnings: readonly string[]
  /** When what is used towards upstreams ends. */
  upstreams: readonly Expiry[]
}

/**
 * A load balancer takes out what is not ready. So only what keeps pulls from being served counts as
 * that: a full disk, an index in memory or one expired authority of several are warnings.
 */
export function createReadiness() {
  const problemsOf = createCertificateCheck()
  return async (
    { listen, admin }: Config,
    { server }: FastifyInstance,
    others: Others,
  ): Promise<Readiness> => {
    const none: ListenerProblems = { fatal: [], partial: [] }
    const pulls = listen.insecureHttp ? none : await problemsOf(listen.tls, 'listen.tls')
    const administration = await problemsOf(admin.tls, 'admin.tls')
    const problems = [
      ...(server.listening ? [] : ['the gateway is not listening']),
      ...pulls.fatal,
      ...others.problems,
    ]
    const warnings = [
      ...pulls.partial,
      ...administration.fatal,
      ...administration.partial,
      ...others.upstreams.filter(({ expiresAt }) => expiresAt <= Date.now()).map(expiredText),
      ...others.warnings,
    ]
    return { ok: problems.length === 0, problems, warnings }
  }
}

function expiredText({ use, expiresAt }: Expiry): string {
  return `${use}: expired on ${new Date(expiresAt).toISOString()}`
}
