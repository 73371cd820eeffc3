// The caller as rules see it: whatever established it, in one shape.
import type { CertificateNames } from '../rules/certificate-names.ts'

export interface TokenFacts {
  issuer: string
  subject: string
  groups: readonly string[]
  claims: Readonly<Record<string, unknown>>
  /** What a Docker token lists, as `<upstream>/<repository>`; absent where it has no such list. */
  access?: TokenAccess
}

export interface TokenAccess {
  /** Repositories that may be pulled. */
  pull: ReadonlySet<string>
  /** Whether the catalog may be seen. */
  catalog: boolean
}

export interface Subject {
  /** Differs for callers that any rule could tell apart; decisions are remembered by it. */
  key: string
  certificate?: CertificateNames
  token?: TokenFacts
}
