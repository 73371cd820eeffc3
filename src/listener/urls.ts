// Under which URLs a browser reaches a listener: its pages' origins, and what they may call.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import type { Config } from '../config/schema.ts'

/**
 * The origins of a listener, such as `https://gateway.local:5443`, best first: one for each name in
 * its certificate, as the file is now; without TLS, those of its address. Throws where the file
 * cannot be read.
 */
export function listenerUrls({ host, tls }: Pick<Config['admin'], 'host' | 'tls'>, port: number) {
  const [scheme, names] =
    tls.cert === undefined
      ? ['http', addressNames(host)]
      : ['https', certificateNames(new X509Certificate(readFileSync(tls.cert)))]
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
