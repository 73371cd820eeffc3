// Who the gateway is at an upstream: user name and password, or an identity token, or nobody.
import type { UpstreamConfig } from '../../config/schema.ts'
import { isDockerHub } from '../../config/registries.ts'
import { readTextFile } from '../../rules/pem-files.ts'
import { UsageError } from '../../errors.ts'
import { readSecret } from '../tls.ts'

export type Credentials =
  | { kind: 'password'; username: string; password: string }
  /** A refresh token, as `docker login` stores it for some registries. */
  | { kind: 'identity'; token: string }

/**
 * Reads what the `auth` section of the upstream called `name` refers to; undefined: anonymous.
 * Throws UsageError naming the key, such as `upstreams.quay.io.auth.passwordFile`.
 */
export function readCredentials(
  name: string,
  { auth, url }: Pick<UpstreamConfig, 'auth' | 'url'>,
): Credentials | undefined {
  const { username, passwordFile, passwordEnv, dockerConfig } = auth
  const at = `upstreams.${name}.auth`
  if (dockerConfig !== undefined) {
    return problemAt(`${at}.dockerConfig`, () => fromDockerConfig(dockerConfig, name, url))
  }
  if (username === undefined) return undefined
  if (passwordFile !== undefined) {
    const password = problemAt(`${at}.passwordFile`, () => readSecret(passwordFile))
    return { kind: 'password', username, password }
  }
  const password = process.env[passwordEnv ?? '']
  if (password === undefined || password === '') {
    const message = 'names an environment variable that is not set'
    throw new UsageError([{ path: `${at}.passwordEnv`, message }])
  }
  return { kind: 'password', username, password }
}

function problemAt<Value>(path: string, read: () => Value): Value {
  try {
    return read()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new UsageError([{ path, message }])
  }
}

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

function fromDockerConfig(file: string, name: string, url: string): Credentials {
  const { auths = {}, credHelpers = {}, credsStore } = parseDockerConfig(file)
  const hosts = new Set([name, new URL(url).host].map(hostOf))
  const isOurs = (key: string) => hosts.has(hostOf(key))
  const entry = Object.entries(auths).find(([key]) => isOurs(key))?.[1]
  const found = entry === undefined ? undefined : credentialsIn(entry)
  if (found !== undefined) return found
  if (credsStore !== undefined || Object.keys(credHelpers).some(isOurs)) {
    throw new Error(
      `${file} leaves this registry to a credential helper, which is not supported: set username and passwordFile`,
    )
  }
  throw new Error(`${file} has no credentials for this registry: log in there, or remove the key`)
}

function parseDockerConfig(file: string): DockerConfig {
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
  const host = key
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '')
    .replace(/:443$/, '')
  return isDockerHub(host) ? 'docker.io' : host
}
