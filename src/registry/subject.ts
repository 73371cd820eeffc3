// From who is calling to what rules look at.
import type { CertificateIdentity, Identity, TokenIdentity } from '../identity/identity.ts'
import type { Subject, TokenAccess, TokenFacts } from '../policy/subject.ts'
import type { CertificateNames } from '../rules/certificate-names.ts'

/** `<upstream>/<repository>` of a name as clients write it; nothing where it is none here. */
export type Resolve = (name: string) => string | undefined

/** The subject of an identity; made once for each object, because policy decisions hang on it. */
export function createSubjects(resolve: Resolve): (identity: Identity) => Subject {
  const anonymous: Subject = { key: '' }
  const known = new WeakMap<CertificateIdentity | TokenIdentity, Subject>()

  function subjectOf(identity: CertificateIdentity | TokenIdentity): Subject {
    const before = known.get(identity)
    if (before !== undefined) return before
    const subject =
      identity.kind === 'certificate' ? ofCertificate(identity) : ofToken(identity, resolve)
    known.set(identity, subject)
    return subject
  }

  return (identity) => {
    if (identity.kind === 'anonymous') return anonymous
    if (identity.kind !== 'certificate+token') return subjectOf(identity)
    const certificate = subjectOf(identity.certificate)
    const token = subjectOf(identity.token)
    return { ...token, ...certificate, key: `${certificate.key} ${token.key}` }
  }
}

function ofCertificate(identity: CertificateIdentity): Subject {
  return { key: `certificate ${identity.thumbprint}`, certificate: namesOf(identity) }
}

/** A token of ours that a certificate alone got says no more of its holder than the certificate. */
function ofToken(identity: TokenIdentity, resolve: Resolve): Subject {
  const { issuedFor, id, issuer, subject, groups, claims } = identity
  const access = identity.access === undefined ? {} : { access: accessOf(identity.access, resolve) }
  const said: TokenFacts =
    issuedFor?.alone === true
      ? { issuer: '', subject: '', groups: [], claims: {}, ...access }
      : { issuer, subject, groups, claims, ...access }
  return {
    key: `token ${id}`,
    token: said,
    ...(issuedFor === undefined ? {} : { certificate: namesOf(issuedFor) }),
  }
}

function namesOf(names: CertificateNames): CertificateNames {
  const { commonName, subject, dnsNames, uris, spiffeId } = names
  const common = { commonName, subject, dnsNames, uris }
  return spiffeId === undefined ? common : { ...common, spiffeId }
}

function accessOf(entries: NonNullable<TokenIdentity['access']>, resolve: Resolve): TokenAccess {
  const pulls = entries.filter(
    ({ type, actions }) =>
      type === 'repository' && (actions.includes('pull') || actions.includes('*')),
  )
  return {
    pull: new Set(pulls.map(({ name }) => resolve(name)).filter((name) => name !== undefined)),
    catalog: entries.some(
      ({ type, name, actions }) =>
        type === 'registry' && name === 'catalog' && actions.includes('*'),
    ),
  }
}
