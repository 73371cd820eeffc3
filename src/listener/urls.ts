// Under which URLs a browser reaches a listener: its pages' origins, and what they may call.
import type { X509Certificate } from 'node:crypto'
import { isIPv6 } from 'node:net'

/**
 * The origins of a listener, such as `https://gateway.local:5443`, best first: one for each name in
 * the certificate that it presents; without one, those of its address.
 */
export function listenerUrls(host: string, certificate: X509Certificate | undefined, port: number) {
  const [scheme, names] =
    certificate === undefined
      ? ['http', addressNames(host)]
      : ['https', certificateNames(certificate)]
  const urls = names
    .map((name) => URL.parse(`${scheme}://${isIPv6(name) ? `[${name}]` : name}:${port}`)?.origin)
    .filter((url) => url !== undefined)
  return [...new Set(urls)]
}

/** A wildcard is no name that could be called, and a name with a quote is none at all. */
function certificateNames({ subjectAltName = '' }: X509Certificate): string[] {
  return [...subjectAltName.matchAll(/(?:^|, )(?:DNS|IP Address):([^",*\s]+)(?=,|$)/g)].map(
    ([, name = '']) => name,
  )
}

function addressNames(host: string): string[] {
  if (host === '0.0.0.0' || host === '::') return ['localhost', '127.0.0.1']
  return host === '::1' || host.startsWith('127.') ? ['localhost', host] : [host]
}
