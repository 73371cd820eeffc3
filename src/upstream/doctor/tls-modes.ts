// The four ways of TLS to an upstream: does it show a certificate that is trusted, does it take ours?
import type { EndpointConfig } from '../../config/upstream/endpoints.ts'
import { createAgents } from '../agents.ts'
import { checkBase } from './base-check.ts'
import type { Upstream } from '../exchange.ts'
import { modeOf, type Mode, type TlsProfile } from '../tls.ts'

export interface ModeResult {
  mode: Mode
  /** `untried`: the config has no certificate to show. */
  outcome: 'works' | 'fails' | 'untried'
  /** Where it fails: a word of docs/reference/errors.md. */
  reason?: string
}

/** Makes a connection in each mode, and asks for `GET /v2/` and nothing else: no credentials. */
export function tryModes(
  upstream: Upstream,
  config: EndpointConfig,
  profile: TlsProfile,
): Promise<ModeResult[]> {
  const combinations = [false, true].flatMap((isTwoWay) =>
    [false, true].map((isSecure) => ({ isTwoWay, isSecure })),
  )
  return Promise.all(
    combinations.map(async ({ isTwoWay, isSecure }): Promise<ModeResult> => {
      const mode = modeOf(isTwoWay, isSecure)
      if (isTwoWay && !profile.hasClientCertificate) return { mode, outcome: 'untried' }
      const { secureContext } = isTwoWay ? profile.own : profile.foreign
      const own = { ...profile.own, secureContext, rejectUnauthorized: isSecure }
      const agents = createAgents(config, { ...profile, own })
      const subject = { ...upstream.subject, hasClientCertificate: isTwoWay }
      try {
        const { result } = await checkBase({ ...upstream, agents, subject })
        return result.kind === 'failure'
          ? { mode, outcome: 'fails', reason: result.reason }
          : { mode, outcome: 'works' }
      } finally {
        await agents.close()
      }
    }),
  )
}
