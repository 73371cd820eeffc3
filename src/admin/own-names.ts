// Whether a request means the admin listener by a name of its own: a page anywhere may give its
// domain this machine's address, and would be let in by the browser as if it came from here.
import { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv6 } from 'node:net'
import type { SecureContextOptions } from 'node:tls'

export interface OwnNames {
  /** `admin.host`. */
  host: string
  /** `admin.names`; asked at each request: a reload may change them. */
  names: () => readonly string[]
  /** PEM of the certificate in use; undefined without TLS. */
  certificate: () => SecureContextOptions['cert']
}

/**
 * Returns what tells whether a request's Host is `localhost`, an address that the listener has, a
 * name in its certificate, or one of `admin.names`. Without a Host it is no browser's.
 */
export function ownNames({
  host,
  names,
  certificate,
}: OwnNames): (req: IncomingMessage) => boolean {
  const loopback = new BlockList()
  loopback.addSubnet('127.0.0.0', 8)
  loopback.addAddress('::1', 'ipv6')
  const isLoopback = (address: string) => loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  // Bound to all addresses, it may be reached by one that only a router in between knows.
  const hasAny = isIP(host) !== 0 && /^[0.:]+$/.test(host)

  return ({ headers }) => {
    if (headers.host === undefined) return true
    const name = nameIn(headers.host)
    if (name === undefined) return false
    if (['localhost', host, ...names()].some((own) => own.toLowerCase() === name)) return true
    if (isIP(name) !== 0) return hasAny || isLoopback(name)
    const pem = certificate()
    return typeof pem === 'string' && new X509Certificate(pem).checkHost(name) !== undefined
  }
}

/** The name in `name:port` or `[address]:port`, lower-case; undefined where it is neither. */
function nameIn(host: string): string | undefined {
  const bracketed = /^\[([0-9a-f:.]{2,45})\](?::\d{1,5})?$/i.exec(host)
  const plain = /^([a-z0-9._-]{1,253})(?::\d{1,5})?$/i.exec(host)
  return (bracketed?.[1] ?? plain?.[1])?.toLowerCase()
}
