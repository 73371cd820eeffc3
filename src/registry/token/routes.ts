// The token endpoint over HTTP: what a request shows, handed to the token service.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { GatewayError } from '../../errors.ts'
import type { Caller } from '../../identity/certificate.ts'
import { identityOfCaller, type Audit } from '../audit.ts'
import { callerName } from '../../identity/identity.ts'
import type { Exchange } from '../request-record.ts'
import { certificateRefused } from '../authenticate.ts'
import type { TokenRequest } from './login.ts'
import type { TokenService } from './service.ts'

export interface TokenRoutes {
  /** `GET` and `POST /token`; notes in the exchange who it is. */
  give: (
    request: FastifyRequest,
    reply: FastifyReply,
    exchange: Pick<Exchange, 'identity'> | undefined,
  ) => Promise<unknown>
  /** `GET /token/jwks.json` (RFC 7517). */
  keys: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
}

export interface TokenRoutesOptions {
  service: TokenService
  callerOf: (socket: Socket) => Caller
  log: Logger
  audit: Audit
}

export function createTokenRoutes(options: TokenRoutesOptions): TokenRoutes {
  const { service, callerOf, log, audit } = options
  return {
    async give({ raw, body }, reply, exchange = { identity: undefined }) {
      const { socket } = raw
      const caller = callerOf(socket)
      exchange.identity = identityOfCaller(caller)
      const request = requestOf(raw, body, caller)
      try {
        if (caller.kind === 'refused') throw certificateRefused(caller.reason)
        const given = await service.handle(request)
        exchange.identity = given.identity
        const who = callerName(given.identity)
        log.debug({ client: request.source, who, granted: given.granted }, 'token given')
        return await reply.header('cache-control', 'no-store').send(given.body)
      } catch (error) {
        if (error instanceof GatewayError) {
          const { identity } = exchange
          const user = service.userIn(request)
          const reason = error.reason ?? error.code
          audit.refused({ socket, identity, user, action: 'token', reason })
        }
        throw error
      }
    },
    keys: async (_request, reply) =>
      reply.header('cache-control', 'max-age=300').send(service.jwks()),
  }
}

function requestOf(raw: IncomingMessage, body: unknown, caller: Caller): TokenRequest {
  const { authorization } = raw.headers
  const { url = '' } = raw
  const mark = url.indexOf('?')
  return {
    method: raw.method === 'POST' ? 'POST' : 'GET',
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark)),
    source: raw.socket.remoteAddress ?? '',
    ...(body instanceof URLSearchParams ? { form: body } : {}),
    ...(authorization === undefined ? {} : { authorization }),
    ...(caller.kind === 'certificate' ? { certificate: caller } : {}),
  }
}
