// Notices revocation lists that would bring back who was revoked: older ones than those in force.
import type { Problem } from '../../errors.ts'
import type { TrustedAuthority, ClientTrust, RevocationList } from './authorities.ts'

/**
 * A problem for each authority of `next` whose list is older than the one that `now` has, or gone
 * although a file of `files`, which are the `crl` of the section `at`, held it.
 */
export function rollbacks(
  now: ClientTrust,
  next: ClientTrust,
  { files, at }: { files: readonly string[]; at: string },
): Problem[] {
  const lists = next.authorities.flatMap((authority) => {
    const before = now.authorities.find((one) => isSame(one, authority))?.revocation?.lists ?? []
    const after = authority.revocation?.lists ?? []
    return before.map((one) => ({ before: one, after: after.find((other) => isFor(other, one)) }))
  })
  const problems = lists.flatMap(({ before, after }) => {
    if (after === undefined ? !files.includes(before.file) : !isOlder(after, before)) return []
    const { file, issuer } = after ?? before
    const what =
      after === undefined
        ? `has lost its list of ${issuer}`
        : `has an older list of ${issuer} than the one in force`
    const message = `${file} ${what}: put a newer one in its place, or set crlRollback`
    return [{ path: `${at}.crl.${files.indexOf(file)}`, message }]
  })
  return [...new Map(problems.map((problem) => [problem.message, problem])).values()]
}

function isSame(one: TrustedAuthority, other: TrustedAuthority): boolean {
  return one.certificate.subject === other.certificate.subject && one.key.equals(other.key)
}

/** Whether two lists of one authority are for the same part of its certificates. */
function isFor({ coverage: one }: RevocationList, { coverage: other }: RevocationList): boolean {
  return one.certificates === other.certificates && one.point === other.point
}

/** CRLNumber only ever grows (RFC 5280, section 5.2.3); without one the dates decide. */
function isOlder(one: RevocationList, other: RevocationList): boolean {
  if (one.number !== other.number && one.number > 0n && other.number > 0n) {
    return one.number < other.number
  }
  return one.thisUpdate < other.thisUpdate
}
