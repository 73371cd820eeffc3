// Reads the credentials of one registry in a docker `config.json`, or the helper that has them.
import { isDockerHub } from '../../config/registries.ts'
import { readTextFile } from '../../rules/pem-files.ts'
import { createHelper } from './credential-program.ts'
import type { Credentials, CredentialSource } from './credentials.ts'

interface DockerConfig {
  auths?: Record<string, DockerAuth>
  credHelpers?: Record<string, string>
  credsStore?: string
}

interface DockerAuth {
  /** Base64 of `user:password`. */
  auth?: string
  username?: string
  password?: string
  identitytoken?: string
}

/**
 * What `file` has for the registry called `name`, or for the host of its `url`: a helper of its own,
 * credentials, or the helper for everything, in this order. Throws an Error where it has nothing.
 */
export function readDockerConfig(file: string, name: string, url: string): CredentialSource {
  const { auths = {}, credHelpers = {}, credsStore } = parse(file)
  const hosts = new Set([name, new URL(url).host].map(hostOf))
  const isOurs = ([key]: [string, unknown]) => hosts.has(hostOf(key))
  const helper = Object.entries(credHelpers).find(isOurs)?.[1]
  if (helper !== undefined) return createHelper(helper, name, url)
  const entry = Object.entries(auths).find(isOurs)?.[1]
  const found = entry === undefined ? undefined : credentialsIn(entry)
  if (found !== undefined) return { get: async () => found }
  if (credsStore !== undefined) return createHelper(credsStore, name, url)
  throw new Error(`${file} has no credentials for this registry: log in there, or remove the key`)
}

function parse(file: string): DockerConfig {
  const text = readTextFile(file)
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // The parser's own message would quote the file, which holds passwords.
  }
  throw new Error(`${file} is no docker config: it must be a JSON object with auths`)
}

function credentialsIn(entry: DockerAuth): Credentials | undefined {
  const { auth, identitytoken } = entry
  if (identitytoken) return { kind: 'identity', token: identitytoken }
  const decoded = Buffer.from(auth ?? '', 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  const username = entry.username ?? decoded.slice(0, Math.max(colon, 0))
  const password = entry.password ?? decoded.slice(colon + 1)
  return username && password ? { kind: 'password', username, password } : undefined
}

/** `https://index.docker.io/v1/` and `registry.local:5000` as hosts that can be compared. */
function hostOf(key: string): string {
  const address = key.toLowerCase().replace(/^https?:\/\//, '')
  const host = (address.split('/', 1)[0] ?? '').replace(/:443$/, '')
  return isDockerHub(host) ? 'docker.io' : host
}
