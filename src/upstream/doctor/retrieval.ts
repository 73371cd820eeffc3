// Content as the gateway's own client gets it, collected: with authorization, redirects and retries.
import type { GatewayError } from '../../errors.ts'
import { collectBody } from '../../oci/body-collector.ts'
import type { OriginRequest, OriginResponse } from '../../oci/origin.ts'
import { openExchange, type Upstream } from '../exchange.ts'

export interface Retrieved extends OriginResponse {
  kind: 'retrieved'
  body: Buffer
}

/** The answer with as much of its body as `limit` bytes; more than that is not waited for. */
export function retrieve(
  upstream: Upstream,
  request: Omit<OriginRequest, 'upstream'>,
  limit: number,
): Promise<Retrieved | GatewayError> {
  return new Promise((resolve) => {
    const body = collectBody(limit)
    let response: OriginResponse = { status: 0, headers: {} }
    const finish = () => resolve({ kind: 'retrieved', ...response, body: body.bytes() })
    const { flow } = openExchange(
      upstream,
      { ...request, upstream: upstream.name },
      {
        start: (given) => {
          response = given
        },
        data(chunk) {
          if (body.add(chunk) < limit) return
          finish()
          flow.abort()
        },
        end: finish,
        fail: resolve,
      },
    )
  })
}
