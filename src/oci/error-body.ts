// The JSON error body of the distribution specification.
import { GatewayError } from '../errors.ts'

/** `{"errors":[{"code","message","detail"?}]}` as the specification's "Error Codes" section has it. */
export function errorBody(error: GatewayError): string {
  const { code, message, detail } = error
  return JSON.stringify({
    errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }],
  })
}

/** Any thrown value as something that may be shown: what is not ours becomes a bare INTERNAL. */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  if (isBadRequest(error)) {
    return new GatewayError('REQUEST_INVALID', 'the request cannot be understood', { cause: error })
  }
  return new GatewayError('INTERNAL', 'the gateway failed; its log says why', { cause: error })
}

/** Whether it is such a body: how a registry is told from whatever else answers in its place. */
function isErrorBody(body: Buffer): boolean {
  try {
    const { errors } = (JSON.parse(body.toString('utf8')) ?? {}) as { errors?: unknown }
    return Array.isArray(errors) && errors.length > 0 && errors.every(hasCode)
  } catch {
    return false
  }
}

/**
 * Whether a 404 is that of a registry: others on the way, such as an ingress that restarts, know
 * nothing of what a registry has.
 */
export function isOfRegistry(answer: {
  headers: Readonly<Record<string, string>>
  body: Buffer
}): boolean {
  return 'docker-distribution-api-version' in answer.headers || isErrorBody(answer.body)
}

function hasCode(error: unknown): boolean {
  return typeof (error as { code?: unknown } | null)?.code === 'string'
}

/** What a framework says of a request that it could not read has a status of its own. */
function isBadRequest(error: unknown): boolean {
  if (!(error instanceof Error) || !('statusCode' in error)) return false
  const { statusCode } = error
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
}
