// Tells whether the gateway can serve, and what is missing where it cannot.
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import { certificateProblems } from './certificates.ts'
import type { Readiness } from './server.ts'

export async function readinessOf(
  { listen, admin }: Config,
  { server }: FastifyInstance,
  cacheProblems: readonly string[],
): Promise<Readiness> {
  const problems = [
    ...(server.listening ? [] : ['the gateway is not listening']),
    ...(listen.insecureHttp ? [] : await certificateProblems(listen.tls, 'listen.tls')),
    ...(await certificateProblems(admin.tls, 'admin.tls')),
    ...cacheProblems,
  ]
  return { ok: problems.length === 0, problems }
}
