// The token endpoint over HTTP: what a request shows, handed to the token service.
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { GatewayError } from '../../errors.ts'
import type { Caller } from '../../identity/certificate.ts'
import { nameOf } from '../request-record.ts'
import type { TokenService } from './service.ts'

export interface TokenRoutes {
  /** `GET` and `POST /token`. */
  give: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
  /** `GET /token/jwks.json` (RFC 7517). */
  keys: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
}

export interface TokenRoutesOptions {
  service: TokenService
  callerOf: (socket: Socket) => Caller
  log: Logger
}

export function createTokenRoutes({ service, callerOf, log }: TokenRoutesOptions): TokenRoutes {
  return {
    async give({ raw, body }, reply) {
      const caller = callerOf(raw.socket)
      const source = raw.socket.remoteAddress ?? ''
      if (caller.kind === 'refused') {
        log.info(
          { audit: 'refused', client: source, action: 'token', reason: caller.reason },
          'audit',
        )
        throw new GatewayError('DENIED', 'the client certificate is not accepted', {
          reason: caller.reason,
        })
      }
      const { authorization } = raw.headers
      try {
        const given = await service.handle({
          method: raw.method === 'POST' ? 'POST' : 'GET',
          query: new URLSearchParams(/\?(.*)$/s.exec(raw.url ?? '')?.[1]),
          source,
          ...(body instanceof URLSearchParams ? { form: body } : {}),
          ...(authorization === undefined ? {} : { authorization }),
          ...(caller.kind === 'certificate' ? { certificate: caller } : {}),
        })
        const who = nameOf(given.identity)
        log.debug({ client: source, who, granted: given.granted }, 'token given')
        return await reply.header('cache-control', 'no-store').send(given.body)
      } catch (error) {
        if (error instanceof GatewayError) {
          log.info(
            {
              audit: 'refused',
              client: source,
              action: 'token',
              reason: error.reason ?? error.code,
            },
            'audit',
          )
        }
        throw error
      }
    },
    keys: async (_request, reply) =>
      reply.header('cache-control', 'max-age=300').send(service.jwks()),
  }
}
