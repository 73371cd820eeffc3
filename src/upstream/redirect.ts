// Where a redirect may lead. Pure, and narrower than HTTP: an upstream must not make the gateway
// ask whatever host it likes.

export interface RedirectRules {
  upstream: URL
  /** The hosts in the `redirects` of the upstream. */
  allowed: (url: URL) => boolean
}

/** How many redirects are followed for one request. */
export const mostRedirects = 5

export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

/** Why a redirect is not followed, and what helps; `title` and `at` are the upstream's. */
export function redirectProblem(
  location: string | undefined,
  from: URL,
  { title, at }: { title: string; at: string },
): string {
  const url = location === undefined ? null : URL.parse(location, from.href)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '') {
    return `${title} redirects to an address that is not usable; check ${at}.url`
  }
  if (url.origin === from.origin) return `${title} redirects too often; check ${at}.url`
  if (url.protocol === 'http:' && from.protocol === 'https:') {
    return `${title} redirects to http://${url.host}, which is not followed from https: it must name an https address (behind a TLS proxy it needs X-Forwarded-Proto)`
  }
  return `${title} redirects to ${url.host}: if it may serve downloads, add it to ${at}.redirects`
}

/**
 * The target of a Location header that was sent by `from`: the upstream's own origin or an allowed
 * host, by https (http only where the upstream itself is). Undefined: must not be followed.
 */
export function redirectTarget(
  location: string | undefined,
  from: URL,
  { upstream, allowed }: RedirectRules,
): URL | undefined {
  const url = location === undefined ? null : URL.parse(location, from.href)
  if (url === null || url.username !== '' || url.password !== '') return undefined
  if (url.origin === upstream.origin) return url
  if (url.protocol !== 'https:' && url.protocol !== upstream.protocol) return undefined
  return allowed(url) ? url : undefined
}

/** What is underneath `redirectProblem`. */
export function strayRedirect(location: string | undefined): Error {
  const host = URL.parse(location ?? '')?.host
  const target = host === undefined ? 'to an address that is not usable' : `to ${host}`
  return new Error(`it redirects ${target}, or too often: hosts are allowed by redirects`)
}
