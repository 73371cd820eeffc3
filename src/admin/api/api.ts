// The admin API, `/api/v1`: what holds for all of its routes, and which there are.
import type { FastifyInstance } from 'fastify'
import { cacheApi, type CacheApiOptions } from './cache-api.ts'
import { gatewayApi, type GatewayApiOptions } from './gateway-api.ts'
import { isFailure, sendError, sendProblem } from './problem.ts'
import { compileRequest } from './validator.ts'

export interface AdminApiOptions extends CacheApiOptions {
  /** Absent where a command answers about a cache that no gateway uses. */
  gateway?: Omit<GatewayApiOptions, 'log' | 'shelf'> | undefined
}

/** A Fastify plugin; docs/reference/api/admin.yaml says what it answers. */
export async function adminApi(api: FastifyInstance, options: AdminApiOptions): Promise<void> {
  const { cache, parseImage, shelf = () => [], gateway, log } = options
  api.setValidatorCompiler(compileRequest)
  // A form of somebody else's page can send this, without a question asked before.
  api.removeContentTypeParser('text/plain')
  api.setErrorHandler((error, _request, reply) => {
    const { statusCode } = error as { statusCode?: number }
    if (statusCode === 415) return sendProblem(reply, 415, 'send a body of type application/json')
    if (isFailure(error)) log.error({ err: error }, 'the admin API failed')
    return sendError(reply, error)
  })
  api.setNotFoundHandler((_request, reply) =>
    sendProblem(
      reply,
      404,
      'no such endpoint; /docs of the admin listener shows those that there are',
    ),
  )
  await api.register(cacheApi, { cache, parseImage, shelf, log })
  if (gateway !== undefined) await api.register(gatewayApi, { ...gateway, shelf, log })
}
