// Who may do what, put together from the config: credentials, tokens, policy and challenges.
import type { Logger } from 'pino'
import type { IssuerConfig } from '../config/access-schema.ts'
import type { Config } from '../config/schema.ts'
import { UsageError, type Problem } from '../errors.ts'
import { createBearerVerifier, type TrustedIssuer } from '../identity/bearer.ts'
import { callerOf } from '../identity/certificate.ts'
import type { CertificateIdentity } from '../identity/identity.ts'
import { createKeySource } from '../identity/jwks.ts'
import { createThrottle } from '../identity/throttle.ts'
import { createPolicy } from '../policy/policy.ts'
import type { Subject } from '../policy/subject.ts'
import { compileWho } from '../policy/who.ts'
import { createAccess, nameOfPlace, type Access } from './access.ts'
import { createAudit, type WriteAudit } from './audit.ts'
import { createCredentials } from './authenticate.ts'
import type { Exchange } from './request-record.ts'
import { createSubjects } from './subject.ts'
import { placeNamed, type Chooser } from './target.ts'
import { createTokenRoutes, type TokenRoutes } from './token/routes.ts'
import { createTokenService } from './token/service.ts'

export interface Authorization {
  access: Access
  /** Absent where the gateway gives no tokens. */
  tokens: TokenRoutes | undefined
  /** Opens the keys that sign tokens, once it is to be used; throws UsageError where that fails. */
  start: () => void
  /** Tells the audit of a pull by tag that has ended. */
  onTagPull: (exchange: Exchange) => void
  close: () => Promise<void>
}

export interface AuthorizationOptions {
  choose: Chooser
  log: Logger
  audit: WriteAudit
  /** Counts a refusal by a word of a small set. */
  onRefusal: (reason: string) => void
}

/**
 * Wrong tokens and passwords of one source, or for one account, that cost nothing, and how long one
 * more takes, ms.
 */
const failures = { burst: 10, refill: 6000 }

/** Throws UsageError where a file that `auth` names cannot be used. */
export function createAuthorization(
  config: Pick<Config, 'auth' | 'policy' | 'listen' | 'replicas'>,
  { choose, log, audit: writeAudit, onRefusal }: AuthorizationOptions,
): Authorization {
  const { auth, policy, replicas } = config
  const { insecureHttp } = config.listen
  const audit = createAudit(writeAudit, onRefusal)
  const throttle = createThrottle(failures)
  const { tokenService } = auth
  const hasIssuers = auth.issuers.length > 0
  const service =
    tokenService === undefined
      ? undefined
      : createTokenService({
          config: tokenService,
          require: auth.require,
          log,
          throttles: { sources: throttle, accounts: createThrottle(failures) },
          verifyToken: hasIssuers ? async (token) => verifier.verify(token) : undefined,
          mayPull: (identity, name) => {
            const place = placeNamed(choose, name)
            return place !== undefined && access.mayHaveToken(identity, place)
          },
        })
  const issuers = openIssuers(auth.issuers, log)
  const trusted = service === undefined ? issuers : [...issuers, service.issuer]
  const verifier = createBearerVerifier(trusted)
  const subjectOf = createSubjects((name) => {
    const place = placeNamed(choose, name)
    return place === undefined ? undefined : nameOfPlace(place)
  })
  const access = createAccess({
    presented: createCredentials({
      callerOf,
      verifier: trusted.length === 0 ? undefined : verifier,
      require: auth.require,
      throttle,
    }),
    callerOf,
    subjectOf,
    policy: createPolicy(policy),
    isReplica: replicaMatcher(replicas.identity, subjectOf),
    hasAdminRules: policy.rules.some(({ actions }) =>
      actions.some((action) => action.startsWith('admin')),
    ),
    setting: {
      require: auth.require,
      tokens: hasIssuers || tokenService?.htpasswd !== undefined,
      tokensForCertificates: service !== undefined,
    },
    challenge: {
      realm: auth.realm,
      service: tokenService?.service ?? 'portcullis',
      ownRealm: service !== undefined,
      secure: !insecureHttp,
    },
    audit,
  })
  return {
    access,
    tokens:
      service === undefined ? undefined : createTokenRoutes({ service, callerOf, log, audit }),
    onTagPull: audit.pulled,
    start: () => service?.start(),
    close: async () => {
      await Promise.all(trusted.map(async ({ keys }) => keys.close()))
    },
  }
}

/** Throws UsageError with the problems of all of them, and keeps none open then. */
function openIssuers(issuers: readonly IssuerConfig[], log: Logger): TrustedIssuer[] {
  const opened: TrustedIssuer[] = []
  const problems: Problem[] = []
  for (const [index, issuer] of issuers.entries()) {
    try {
      opened.push({
        ...issuer,
        keys: createKeySource(issuer, { at: `auth.issuers.${index}`, log }),
      })
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      problems.push(...error.problems)
    }
  }
  if (problems.length === 0) return opened
  for (const { keys } of opened) void keys.close()
  throw new UsageError(problems)
}

/** As rules of a policy read names: one pattern is for URIs, or for common names and DNS names. */
function replicaMatcher(
  patterns: readonly string[],
  subjectOf: (identity: CertificateIdentity) => Subject,
): (identity: CertificateIdentity) => boolean {
  const uri = patterns.filter((pattern) => pattern.includes(':'))
  const names = patterns.filter((pattern) => !pattern.includes(':'))
  const tests = [{ uri }, { cn: names }, { dns: names }].map(compileWho)
  return (identity) => tests.some((test) => test(subjectOf(identity)))
}
