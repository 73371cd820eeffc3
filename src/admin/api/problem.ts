// What went wrong with a request to the admin API, as RFC 9457 has it.
import type { FastifyReply } from 'fastify'
import { UsageError, type Problem } from '../../errors.ts'
import { asGatewayError } from '../../oci/error-body.ts'
import { STATUS_CODES } from '../../rules/rare/node-http.ts'

export interface ProblemDocument {
  type: 'about:blank'
  /** The phrase of the status. */
  title: string
  status: number
  /** What to do, for a person. */
  detail: string
  /** Where the request is wrong: parameters of the query, keys of the body. */
  errors?: readonly Problem[]
  [extension: string]: unknown
}

/** Answers by a problem document. */
export function sendProblem(
  reply: FastifyReply,
  status: number,
  detail: string,
  extensions: Record<string, unknown> = {},
): FastifyReply {
  const title = STATUS_CODES[status] ?? 'Error'
  const problem: ProblemDocument = { type: 'about:blank', title, status, detail, ...extensions }
  return reply.code(status).type('application/problem+json').send(JSON.stringify(problem))
}

/** The same for what was thrown. */
export function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  if (error instanceof UsageError) {
    const detail = error.problems.map(({ path, message }) => `${path} ${message}`).join('; ')
    return sendProblem(reply, 400, detail, { errors: error.problems })
  }
  const { status, message, headers } = asGatewayError(error)
  return sendProblem(reply.headers(headers), status, message)
}

/** Whether it is the gateway's own, to be told in the log. */
export function isFailure(error: unknown): boolean {
  return !(error instanceof UsageError) && asGatewayError(error).code === 'INTERNAL'
}
