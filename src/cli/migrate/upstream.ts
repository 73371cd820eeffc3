// The upstream of ours that a registry of theirs becomes.
import { UsageError } from '../../errors.ts'
import type { ForeignConfig } from './source.ts'

/** A part of a config, as it is written. */
export type Draft = Record<string, unknown>

/** Names of Docker Hub that all mean `docker.io`. */
const dockerHub = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
  'hub.docker.com',
])

/**
 * The name and the URL of the upstream at `address`, a URL or a host; the URL only where it is needed.
 * Throws UsageError `path`, the key of theirs, where it is neither.
 */
export function upstreamAt(address: string, path: string): { name: string; url?: string } {
  const text = address.includes('://') ? address : `https://${address}`
  if (!URL.canParse(text)) {
    const message = `${JSON.stringify(address)} is no address of a registry: name its host or URL`
    throw new UsageError([{ path, message }])
  }
  const url = new URL(text)
  if (dockerHub.has(url.hostname)) return { name: 'docker.io' }
  const plain = url.protocol === 'https:' && url.pathname === '/'
  return { name: url.host, ...(plain ? {} : { url: url.href.replace(/\/$/, '') }) }
}

/** User and password by the keys of theirs; the password is to be put into a file. */
export function passwordAuth(
  source: ForeignConfig,
  keys: { user: string; password: string },
  upstream: string,
): Draft | undefined {
  const username = source.text(keys.user)
  if (username === undefined || username === '') return undefined
  const passwordFile = `secrets/${upstream.replaceAll(/[^a-z0-9.-]/g, '-')}`
  source.note(keys.password, `write the password into ${passwordFile}: no secret is in a config`)
  return { username, passwordFile }
}

/** Without what is undefined, and without empty sections. */
export function compact(draft: Draft): Draft {
  return Object.fromEntries(
    Object.entries(draft)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [
        key,
        typeof value === 'object' && value !== null && !Array.isArray(value)
          ? compact(value as Draft)
          : value,
      ]),
  )
}

/** The listener: TLS where there is a certificate, else plain HTTP as theirs. */
export function listenerOf(listen: Draft, tls: Draft): Draft {
  return tls['cert'] === undefined ? { ...listen, insecureHttp: true } : { ...listen, tls }
}
