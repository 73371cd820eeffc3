// Reads where an upstream's credentials come from: a file, the environment, a docker config, a helper.
import type { Endpoint } from '../../config/upstream/endpoints.ts'
import { UsageError } from '../../errors.ts'
import { readTextFile } from '../../rules/pem-files.ts'
import type { Credentials, CredentialSource } from './credentials.ts'
import { createHelper } from './credential-program.ts'
import { readDockerConfig } from './docker-config.ts'

/**
 * Reads what the `auth` section of an endpoint of the upstream called `name` refers to; undefined: anonymous.
 * Throws UsageError naming the key, such as `upstreams.quay.io.auth.passwordFile`.
 */
export function readCredentials(
  name: string,
  { at, config: { auth, url } }: Endpoint,
): CredentialSource | undefined {
  const { username, passwordFile, passwordEnv, dockerConfig, helper } = auth
  if (helper !== undefined) return createHelper(helper, name, url)
  if (dockerConfig !== undefined) {
    return problemAt(`${at}.auth.dockerConfig`, () => readDockerConfig(dockerConfig, name, url))
  }
  if (username === undefined) return undefined
  if (passwordFile !== undefined) {
    const password = problemAt(`${at}.auth.passwordFile`, () => readPassword(passwordFile))
    return fixed({ kind: 'password', username, password })
  }
  const password = process.env[passwordEnv ?? '']
  if (password === undefined || password === '') {
    const message = 'names an environment variable that is not set'
    throw new UsageError([{ path: `${at}.auth.passwordEnv`, message }])
  }
  return fixed({ kind: 'password', username, password })
}

/** Credentials that change only with the config. */
function fixed(credentials: Credentials): CredentialSource {
  return { get: async () => credentials }
}

/** All of it but for one line break at the end: some passwords are documents of many lines. */
function readPassword(file: string): string {
  const password = readTextFile(file).replace(/\r?\n$/, '')
  if (password === '') throw new Error(`${file} is empty`)
  return password
}

function problemAt<Value>(path: string, read: () => Value): Value {
  try {
    return read()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new UsageError([{ path, message }])
  }
}
