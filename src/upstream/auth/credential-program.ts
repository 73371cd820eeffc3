// Asks a docker credential helper, a program that prints short-lived credentials: the protocol that
// those of ECR, GCR and ACR speak (docker/docker-credential-helpers, command `get`).
import { spawn } from 'node:child_process'
import { isDockerHub } from '../../config/registries.ts'
import { collectBody } from '../../oci/body-collector.ts'
import { CredentialsUnavailable, type Credentials, type CredentialSource } from './credentials.ts'

/** For one run, ms. */
const timeLimit = 10_000
const largestOutput = 64 * 1024
/** Credentials that do not say when they end are asked for again after this, ms. */
const usualLife = 15 * 60_000
/** They must not run out on their way, ms. */
const margin = 60_000
/** A helper that failed is left alone for a moment, ms. */
const pause = 5000

export interface HelperLimits {
  /** For one run, ms. */
  timeLimit: number
  now: () => number
}

/** Asks `docker-credential-<helper>`, found by PATH, when somebody needs it and not before. */
export function createHelper(
  helper: string,
  name: string,
  url: string,
  limits: HelperLimits = { timeLimit, now: Date.now },
): CredentialSource {
  const program = `docker-credential-${helper}`
  // A docker config is not checked by the schema: what it names must not lead elsewhere.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(helper)) {
    throw new Error(`${JSON.stringify(helper)} names no credential helper`)
  }
  const server = isDockerHub(name) ? 'https://index.docker.io/v1/' : new URL(url).host
  const { now } = limits
  let current: { credentials: Credentials; until: number } | undefined
  let running: Promise<Credentials> | undefined
  let failed: { error: unknown; until: number } | undefined

  async function ask(): Promise<Credentials> {
    try {
      const credentials = parse(program, await run(program, server, limits.timeLimit))
      current = { credentials, until: endOf(credentials, now()) }
      failed = undefined
      return credentials
    } catch (error) {
      failed = { error, until: now() + pause }
      throw error
    } finally {
      running = undefined
    }
  }

  return {
    async get(refused) {
      const isGood = current !== undefined && now() < current.until
      const isRefused = refused !== undefined && isSame(refused, current?.credentials)
      if (isGood && !isRefused && current !== undefined) return current.credentials
      if (running === undefined && failed !== undefined && now() < failed.until) throw failed.error
      return (running ??= ask())
    },
  }
}

function isSame(one: Credentials, other: Credentials | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** What it prints. It is given the registry on standard input and nothing else. */
function run(program: string, server: string, limit: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const unavailable = (what: string, cause?: unknown) =>
    reject(new CredentialsUnavailable(`${program} ${what}`, cause === undefined ? {} : { cause }))
  const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], detached: true })
  const output = collectBody(largestOutput)
  const end = () => {
    // What it has started holds the output open, and goes with it.
    if (child.pid !== undefined) killGroup(child.pid)
    child.stdout.destroy()
  }
  const timer = setTimeout(() => {
    unavailable(`did not answer in ${limit / 1000} s`)
    end()
  }, limit)
  child.stdout.on('data', (chunk: Buffer) => {
    if (output.add(chunk) <= largestOutput) return
    unavailable('prints too much')
    end()
  })
  child.once('error', (error: NodeJS.ErrnoException) => {
    clearTimeout(timer)
    unavailable(error.code === 'ENOENT' ? 'is not installed in PATH' : 'cannot be run', error)
  })
  child.once('close', (code, signal) => {
    clearTimeout(timer)
    if (code === 0) resolve(output.bytes().toString('utf8'))
    else unavailable(`ended with ${signal ?? `exit code ${code}`}`)
  })
  // One that does not read what it is given has closed its end: how it exits tells.
  child.stdin.on('error', () => undefined)
  child.stdin.end(`${server}\n`)
  return promise
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}

/** The user name `<token>` says that the secret is an identity token. */
function parse(program: string, output: string): Credentials {
  let document: unknown
  try {
    document = JSON.parse(output)
  } catch {
    document = undefined
  }
  const { Username: username, Secret: secret } = (document ?? {}) as Record<string, unknown>
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') {
    throw new CredentialsUnavailable(`${program} prints no JSON with Username and Secret`)
  }
  return username === '<token>'
    ? { kind: 'identity', token: secret }
    : { kind: 'password', username, password: secret }
}

/** The protocol has no end; most secrets say it themselves: JSON Web Tokens, and those of ECR. */
function endOf(credentials: Credentials, now: number): number {
  const secret = credentials.kind === 'identity' ? credentials.token : credentials.password
  const parts = secret.split('.')
  const { exp, expiration } = documentIn(parts.length === 3 ? (parts[1] ?? '') : secret)
  const end = Number(exp ?? expiration) * 1000 - margin
  const usual = now + usualLife
  // One that has ended by our clock is used nevertheless: the clock may be wrong.
  return Number.isFinite(end) && end > now ? Math.min(end, usual) : usual
}

function documentIn(base64: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(base64, 'base64url').toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
