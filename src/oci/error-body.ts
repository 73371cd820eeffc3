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
  return new GatewayError('INTERNAL', 'the gateway failed; its log says why', { cause: error })
}
