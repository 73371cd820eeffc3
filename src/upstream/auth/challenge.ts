// The challenge of a 401, and where a token may be asked for because of it. Pure.
import { tldts } from '../../rules/rare/packages.ts'

/** Of a header this much is read, characters. */
const longest = 8192

export type RegistryChallenge =
  | { scheme: 'basic' }
  | { scheme: 'bearer'; realm: string; service: string | undefined; scope: string | undefined }

/**
 * The challenges that can be answered, of WWW-Authenticate headers (RFC 9110 section 11.6.1) with
 * the parameters of the distribution token specification; Bearer before Basic.
 */
export function parseChallenges(header: string | undefined): RegistryChallenge[] {
  const schemes = schemesIn(header ?? '')
  const bearers = schemes.flatMap(({ scheme, parameters }): RegistryChallenge[] => {
    const realm = parameters.get('realm')
    if (scheme !== 'bearer' || realm === undefined) return []
    return [{ scheme, realm, service: parameters.get('service'), scope: parameters.get('scope') }]
  })
  const hasBasic = schemes.some(({ scheme }) => scheme === 'basic')
  return [...bearers, ...(hasBasic ? [{ scheme: 'basic' } as const] : [])]
}

interface Scheme {
  /** Lower-case, as the names of its parameters are. */
  scheme: string
  parameters: Map<string, string>
}

function schemesIn(header: string): Scheme[] {
  const schemes: Scheme[] = []
  let parameters = new Map<string, string>()
  const tokens = /([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g
  for (const [, name = '', quoted, bare] of header.slice(0, longest).matchAll(tokens)) {
    if (quoted === undefined && bare === undefined) {
      parameters = new Map()
      schemes.push({ scheme: name.toLowerCase(), parameters })
    } else {
      parameters.set(name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? bare ?? '')
    }
  }
  return schemes
}

/**
 * The realm as a URL, if credentials may go there: https (http only where the upstream is), on the
 * registry's own host, of the same registrable domain, or of a host in `allowed` (globs).
 */
export function trustedRealm(
  realm: string,
  upstream: URL,
  allowed: (url: URL) => boolean,
): URL | undefined {
  const url = URL.parse(realm)
  if (url === null || url.username !== '' || url.password !== '') return undefined
  if (url.protocol !== 'https:' && url.protocol !== upstream.protocol) return undefined
  const isKnown =
    url.hostname === upstream.hostname ||
    isSameDomain(url.hostname, upstream.hostname) ||
    allowed(url)
  return isKnown ? url : undefined
}

/** Why a realm is not asked, and what helps; `title` and `at` are the upstream's. */
export function realmProblem(
  realm: string,
  upstream: URL,
  { title, at }: { title: string; at: string },
): string {
  const url = URL.parse(realm)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '') {
    return `${title} names a token service whose address is not usable; check ${at}.url`
  }
  if (url.protocol === 'http:' && upstream.protocol === 'https:') {
    return `${title} names the token service http://${url.host}, and credentials are not sent without TLS: it must name an https realm (behind a TLS proxy it needs X-Forwarded-Proto)`
  }
  return `${title} names the token service ${url.host}: if it can be trusted, add it to ${at}.auth.realms`
}

/** Only below suffixes that are known: below `svc.cluster.local` the neighbours are strangers. */
function isSameDomain(one: string, other: string): boolean {
  const { parse } = tldts()
  const { domain, isIcann, isPrivate } = parse(one, { allowPrivateDomains: true })
  if (domain === null || !(isIcann || isPrivate)) return false
  return domain === parse(other, { allowPrivateDomains: true }).domain
}
