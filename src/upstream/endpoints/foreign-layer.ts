// Decides whether a foreign layer is fetched from an address that its manifest has for it: whoever
// pushes an image writes that, so it leads only where the config lets it.
import { GatewayError } from '../../errors.ts'
import type { Upstream } from '../exchange.ts'

type Rules = Pick<Upstream, 'url' | 'foreignLayers' | 'allowedRedirect' | 'subject'>

/** Why it is not, and the key that changes it; undefined: it may be. */
export function foreignLayerRefusal(rules: Rules, address: string): GatewayError | undefined {
  const { title, at } = rules.subject
  const url = URL.parse(address)
  const from = url === null || url.host === '' ? 'nowhere' : url.host
  if (rules.foreignLayers === 'refuse') {
    return new GatewayError(
      'BLOB_UNKNOWN',
      `${title} does not have this foreign layer, and ${at}.foreignLayers does not let the gateway fetch it from ${from}, as its manifest says`,
    )
  }
  if (url === null || !isUsable(url, rules.url)) {
    return badAddress(
      `the manifest has a foreign layer at an address of ${title} that is not usable: it must be https, without credentials`,
    )
  }
  if (rules.allowedRedirect(url)) return undefined
  return badAddress(
    `${title} has a foreign layer at ${from}: if it may serve downloads, add it to ${at}.redirects`,
  )
}

function isUsable(url: URL, upstream: URL): boolean {
  const { protocol, username, password } = url
  const isSafe = protocol === 'https:' || (protocol === 'http:' && upstream.protocol === protocol)
  return isSafe && username === '' && password === ''
}

function badAddress(message: string): GatewayError {
  return new GatewayError('UPSTREAM_FAILED', message, { reason: 'bad_response' })
}
