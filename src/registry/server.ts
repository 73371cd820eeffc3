// The server that clients pull from: GET and HEAD below /v2/ go straight to the pull API, the rest
// (tokens, refused methods, unknown paths) through Fastify.
import type { IncomingMessage, RequestListener } from 'node:http'
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RouteHandlerMethod,
} from 'fastify'
import { GatewayError } from '../errors.ts'
import { callerOf } from '../identity/certificate.ts'
import type { ListenerServer } from '../listener/server.ts'
import { asGatewayError, errorBody } from '../oci/error-body.ts'
import { withoutCompilers } from '../rules/rare/compilers.ts'
import { contentPolicy } from './answer.ts'
import { allowOrigins } from './cors.ts'
import { createRequestIds } from './record/request-id.ts'
import { beginExchange, type Exchange, type Recorder } from './request-record.ts'
import type { TakeShare } from './shares.ts'
import { isRegistryTarget } from './target.ts'
import type { TokenRoutes } from './token/routes.ts'

export interface RegistryServerOptions {
  /** Makes the server, not listening yet, for a handler of every request whose frame is sound. */
  listener: (handler: RequestListener) => ListenerServer
  pull: RequestListener
  /** Asked at each request; undefined where the gateway gives no tokens. */
  tokens: () => TokenRoutes | undefined
  takeShare: TakeShare
  record: Recorder
  /** The origins whose pages may call the gateway from a browser. */
  origins: () => readonly string[]
}

/** Room for a refresh token, names and many scopes, bytes. */
const bodyLimit = 64 * 1024

/** The Fastify instance around the server; after `ready()` the caller listens on `server`. */
export function createRegistryServer(options: RegistryServerOptions): FastifyInstance {
  const { listener, pull, tokens, takeShare, record, origins } = options
  const exchanges = new WeakMap<IncomingMessage, Exchange>()
  const idOf = createRequestIds()
  const app = Fastify({
    ...withoutCompilers,
    bodyLimit,
    serverFactory: (handler) =>
      listener(
        allowOrigins(origins, (req, res) => (isPull(req) ? pull(req, res) : handler(req, res))),
      ),
    // The listener answers these itself; Fastify's own would cut that answer off.
    clientErrorHandler: () => undefined,
    frameworkErrors: (_error, _request, reply) => {
      answer(reply, new GatewayError('REQUEST_INVALID', 'the request target cannot be decoded'))
    },
  })

  app.addHook('onRequest', async ({ raw }, reply) => {
    const id = idOf(raw)
    exchanges.set(raw, beginExchange(raw, reply.raw, id))
    reply.headers({
      'x-request-id': id,
      'x-content-type-options': 'nosniff',
      'content-security-policy': contentPolicy,
    })
  })
  app.addHook('onResponse', async ({ raw }, reply) => {
    const exchange = exchanges.get(raw)
    if (exchange === undefined) return
    exchange.bytes = Number(reply.getHeader('content-length') ?? 0)
    record(exchange)
  })

  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: FastifyRequest, body: string | Buffer) => new URLSearchParams(String(body)),
  )
  // What is refused anyway need not be understood first, nor read.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  const give: RouteHandlerMethod = async (request, reply) =>
    tokens()?.give(request, reply, exchanges.get(request.raw)) ?? reply.callNotFound()
  // By certificate or address, before anything is read: a signature or a password costs much.
  const onRequest = async ({ raw }: FastifyRequest) => {
    const caller = callerOf(raw.socket)
    const exchange = exchanges.get(raw)
    if (exchange === undefined) return
    takeShare(exchange, caller.kind === 'refused' ? { kind: 'anonymous' } : caller)
  }
  app.get('/token', { onRequest }, give)
  app.post('/token', { onRequest }, give)
  app.get(
    '/token/jwks.json',
    async (request, reply) => tokens()?.keys(request, reply) ?? reply.callNotFound(),
  )

  app.setNotFoundHandler(({ raw }) => {
    if (raw.method !== 'GET' && raw.method !== 'HEAD') {
      throw new GatewayError('UNSUPPORTED', 'the gateway is pull-only: GET and HEAD', {
        // What follows may be a layer that nobody wants.
        headers: { allow: 'GET, HEAD', connection: 'close' },
      })
    }
    throw new GatewayError('NOT_FOUND', 'no such endpoint; the registry API lives below /v2/')
  })

  app.setErrorHandler((error, { raw }, reply) => {
    const known = asGatewayError(tooLarge(error) ?? error)
    const exchange = exchanges.get(raw)
    if (exchange !== undefined) exchange.error = known
    return answer(reply, known)
  })
  return app
}

function isPull({ method, url = '' }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && isRegistryTarget(url)
}

function tooLarge(error: unknown): GatewayError | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code !== 'FST_ERR_CTP_BODY_TOO_LARGE' && code !== 'FST_ERR_CTP_INVALID_CONTENT_LENGTH') {
    return undefined
  }
  return new GatewayError('REQUEST_INVALID', `the body is longer than ${bodyLimit} bytes`)
}

function answer(reply: FastifyReply, error: GatewayError): FastifyReply {
  return reply
    .code(error.status)
    .headers(error.headers)
    .type('application/json')
    .send(errorBody(error))
}
