// The admin listener: is it alive, is it ready, what has it counted, and the API documents.
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { callerOf } from '../identity/certificate.ts'
import type { Identity } from '../identity/identity.ts'
import { createServer, securedBy, type ServerOptions } from '../listener/server.ts'
import { asGatewayError, errorBody } from '../oci/error-body.ts'
import { docs } from './docs.ts'
import type { Metrics } from './metrics.ts'
import { ownNames } from './own-names.ts'

export interface Readiness {
  ok: boolean
  /** Why pulls cannot be served, one sentence each. */
  problems: string[]
  /** What is wrong besides: pulls are served all the same, and the gateway stays in service. */
  warnings: string[]
}

export interface AdminOptions {
  config: Config['admin']
  metrics: Metrics
  limits: ServerOptions['limits']
  readiness: () => Promise<Readiness>
  /** Whether the policy lets the caller see more than the health checks; everybody, when absent. */
  mayAdminister?: (caller: Identity) => boolean
  /** Writes an audit line; the log has none otherwise. */
  audit?: (facts: Readonly<Record<string, unknown>>) => void
  /** The URLs by which a browser reaches the gateway, for trying out its API. */
  gatewayUrls: () => readonly string[]
  log: Logger
}

/**
 * The admin server, not listening yet: after `ready()` use `listen(admin.server, …)`, and at the
 * end `drain(admin.server, …)`. Plain HTTP unless its config has TLS; loopback only in that case.
 */
export function createAdmin(options: AdminOptions): FastifyInstance {
  const {
    config,
    metrics,
    readiness,
    gatewayUrls,
    log,
    limits,
    mayAdminister = () => true,
  } = options
  const audit = options.audit ?? (() => undefined)
  const admin = Fastify({
    serverFactory: (handler) =>
      createServer(config, {
        handler,
        log,
        limits,
        onHandshakeFailure: metrics.handshakeFailure,
        onRefusedCaller: metrics.refusedCaller,
        section: 'admin',
      }),
    // The listener answers these itself; Fastify's own would cut that answer off.
    clientErrorHandler: () => undefined,
    frameworkErrors: (_error, _request, reply) => {
      answer(reply, new GatewayError('REQUEST_INVALID', 'the request target cannot be decoded'))
    },
  })

  const isOwn = ownNames(config, () => securedBy(admin.server)?.credentials.context.cert)
  admin.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    if (!isOwn(request.raw)) {
      metrics.refusedCaller('foreign_host')
      throw new GatewayError(
        'DENIED',
        'the admin listener has no such name: ask by its address, or add the name to admin.names',
        { reason: 'foreign_host' },
      )
    }
    const caller = callerOf(request.raw.socket)
    if (caller.kind === 'refused') {
      metrics.refusedCaller(caller.reason)
      throw new GatewayError('DENIED', 'the client certificate is not accepted', {
        reason: caller.reason,
      })
    }
    if (isProbe(request.raw.url) || mayAdminister(caller)) return
    metrics.refusedCaller('policy')
    const who = caller.kind === 'certificate' ? caller.subject : 'anonymous'
    const { remoteAddress: client } = request.raw.socket
    audit({ audit: 'refused', client, who, how: caller.kind, action: 'admin', reason: 'policy' })
    throw new GatewayError('DENIED', 'the caller may not do this here', { reason: 'policy' })
  })

  admin.get('/healthz', async () => ({ status: 'alive' }))

  admin.get('/readyz', async (_request, reply) => {
    const { ok, ...reasons } = await settled(readiness, log)
    return reply.code(ok ? 200 : 503).send({ status: ok ? 'ready' : 'not ready', ...reasons })
  })

  admin.get('/metrics', async (_request, reply) => {
    const text = await metrics.registry.metrics()
    return reply.type(metrics.registry.contentType).send(text)
  })

  admin.register(docs, { gatewayUrls })

  admin.setNotFoundHandler(() => {
    throw new GatewayError(
      'NOT_FOUND',
      'no such page: there are /healthz, /readyz, /metrics and /docs',
    )
  })

  admin.setErrorHandler((error, _request, reply) => {
    const known = asGatewayError(error)
    if (known.code === 'INTERNAL') log.error({ err: error }, 'the admin listener failed')
    return answer(reply, known)
  })
  return admin
}

function answer(reply: FastifyReply, error: GatewayError): FastifyReply {
  return reply
    .code(error.status)
    .headers(error.headers)
    .type('application/json')
    .send(errorBody(error))
}

/** A check that fails is a reason not to be ready, not a failure of the answer. */
async function settled(readiness: () => Promise<Readiness>, log: Logger): Promise<Readiness> {
  try {
    return await readiness()
  } catch (error) {
    log.error({ err: error }, 'the readiness check failed')
    return { ok: false, problems: ['the check itself failed; the log says why'], warnings: [] }
  }
}

/** What load balancers and the kubelet ask, who have no certificate. */
function isProbe(url = ''): boolean {
  return /^\/(?:healthz|readyz)(?:\?|$)/.test(url)
}
