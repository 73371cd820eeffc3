// The admin listener: is it alive, is it ready, what has it counted, and the API documents.
import type { RequestListener } from 'node:http'
import Fastify, { type FastifyInstance, type FastifyReply, type RouteHandlerMethod } from 'fastify'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { createServer, securedBy, type ServerOptions } from '../listener/server.ts'
import { asGatewayError, errorBody } from '../oci/error-body.ts'
import { withoutCompilers } from '../rules/rare/compilers.ts'
import { adminApi, type AdminApiOptions } from './api/api.ts'
import type { DocsOptions } from './docs.ts'
import { createGuard, type GuardOptions } from './guard.ts'
import type { Metrics } from './metrics.ts'
import { ownNames, type OwnNames } from './own-names.ts'
import type { Readiness } from './readiness.ts'
import { sendRefusedPage, statusPage } from './status-page.ts'

export interface AdminOptions {
  config: Config['admin']
  /** See `OwnNames`; those of `config`, when absent. */
  names?: OwnNames['names']
  metrics: Metrics
  /** What is told at `/metrics`; `metrics`, when absent. */
  counted?: (() => Promise<Registry>) | undefined
  limits: ServerOptions['limits']
  readiness: () => Promise<Readiness>
  /** See `createGuard`; everybody may do everything, when absent. */
  mayAdminister?: GuardOptions['mayAdminister']
  /** What `/api/v1` answers from; there is none when absent. */
  api?: Omit<AdminApiOptions, 'log'>
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
    names = () => config.names,
    metrics,
    readiness,
    gatewayUrls,
    log,
    limits,
    api,
    mayAdminister = () => true,
  } = options
  const audit = options.audit ?? (() => undefined)
  const admin = Fastify({
    ...withoutCompilers,
    serverFactory: (handler) =>
      createServer(config, {
        handler,
        log,
        limits,
        onHandshake: metrics.handshake,
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

  const guard = createGuard({
    isOwn: ownNames({
      host: config.host,
      names,
      certificate: () => securedBy(admin.server)?.credentials.context.cert,
    }),
    mayAdminister,
    audit,
    onRefusal: metrics.refusedCaller,
  })
  admin.addHook('onRequest', async (request, reply) => {
    reply.raw.setHeader('cache-control', 'no-store')
    reply.raw.setHeader('x-content-type-options', 'nosniff')
    guard(request)
  })

  admin.get('/healthz', async () => ({ status: 'alive' }))

  admin.get('/readyz', async (_request, reply) => {
    const { ok, ...reasons } = await settled(readiness, log)
    return reply.code(ok ? 200 : 503).send({ status: ok ? 'ready' : 'not ready', ...reasons })
  })

  admin.get('/metrics', async (_request, reply) => {
    const registry = await (options.counted?.() ?? metrics.registry)
    return reply.type(registry.contentType).send(await registry.metrics())
  })

  const showDocs = docsOnceAsked({ gatewayUrls })
  admin.get('/docs', showDocs)
  admin.get('/docs/*', showDocs)
  admin.register(statusPage)
  if (api !== undefined) admin.register(adminApi, { prefix: '/api/v1', ...api, log })

  admin.setNotFoundHandler(() => {
    throw new GatewayError(
      'NOT_FOUND',
      'no such page: there are /, /healthz, /readyz, /metrics, /docs and what that shows',
    )
  })

  admin.setErrorHandler((error, request, reply) => {
    const known = asGatewayError(error)
    if (known.code === 'INTERNAL') log.error({ err: error }, 'the admin listener failed')
    const isPage = request.url === '/' && request.headers.accept?.includes('text/html') === true
    if (isPage && known.code === 'DENIED') return sendRefusedPage(reply, known.message)
    return answer(reply, known)
  })
  return admin
}

/** They are loaded when somebody opens them. */
function docsOnceAsked(options: DocsOptions): RouteHandlerMethod {
  let docs: Promise<RequestListener> | undefined
  const load = async () => (await import('./docs.ts')).createDocs(options)
  return async ({ raw }, reply) => {
    const show = await (docs ??= load())
    reply.hijack()
    show(raw, reply.raw)
  }
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
