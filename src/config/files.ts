// The files that a config names for what can be replaced while the gateway runs.
import type { Config } from './schema.ts'

/**
 * Absolute paths of the files of `auth` and of the upstreams, each once. Those of the listeners are
 * not among them, nor is the key that signs tokens: the gateway writes that itself.
 */
export function filesNamedBy({ auth, upstreams }: Config): string[] {
  const ofAuth = [
    auth.tokenService?.htpasswd,
    ...auth.issuers.flatMap(({ jwks, jwksCa }) => [
      jwks.includes('://') ? undefined : jwks,
      jwksCa,
    ]),
  ]
  const ofUpstreams = Object.values(upstreams).flatMap(
    ({ tls, auth: { passwordFile, dockerConfig } }) => [
      tls.ca,
      tls.cert,
      tls.key,
      tls.pfx,
      tls.passphraseFile,
      passwordFile,
      dockerConfig,
    ],
  )
  return [...new Set([...ofAuth, ...ofUpstreams].filter((file) => file !== undefined))]
}
