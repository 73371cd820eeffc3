// The public keys of a token issuer: from a file, or by HTTPS with a memory that outlives the issuer.
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose'
import { Agent } from '../rules/rare/connections.ts'
import { jose, undici } from '../rules/rare/packages.ts'
import type { Logger } from 'pino'
import type { Dispatcher } from 'undici'
import type { IssuerConfig } from '../config/access-schema.ts'
import { UsageError, type Problem } from '../errors.ts'
import { authorityDoubts, readAuthorities } from '../rules/authority-files.ts'
import { readBytes } from '../rules/pem-files.ts'

export interface KeySource {
  /** Finds the key for a token; throws jose's JWKSNoMatchingKey, or KeysUnavailable. */
  key: JWTVerifyGetKey
  close(): Promise<void>
}

/** The issuer could not be asked, and has never been. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable'
}

/** How long keys are used before they are looked at again, ms; longer while the issuer is away. */
const freshFor = 600_000
/** Between two requests to an issuer whose keys are known; this is what an unknown key id costs. */
const gap = 60_000
/** The same while none is known. */
const firstGap = 5000
const timeout = 5000
const largest = 1024 * 1024

/** Throws UsageError naming `<at>.jwks` or `.jwksCa` where a file is not what it should be. */
export function createKeySource(
  config: Pick<IssuerConfig, 'issuer' | 'jwks' | 'jwksCa'>,
  { at, log, now = Date.now }: { at: string; log: Logger; now?: () => number },
): KeySource {
  if (!config.jwks.includes('://')) {
    return { key: keysInFile(config.jwks, `${at}.jwks`), close: async () => undefined }
  }
  const ca = config.jwksCa === undefined ? undefined : trusted(config.jwksCa, `${at}.jwksCa`)
  return createRemote(config.jwks, { ca, now, log: log.child({ issuer: config.issuer }) })
}

interface RemoteOptions {
  ca: string[] | undefined
  now: () => number
  log: Logger
}

function createRemote(url: string, { ca, now, log }: RemoteOptions): KeySource {
  const agent = new Agent({
    connect: ca === undefined ? {} : { ca },
    allowH2: false,
    connections: 1,
    maxResponseSize: largest,
  })
  let keys: JWTVerifyGetKey | undefined
  let fetchedAt = 0
  let triedAt = Number.NEGATIVE_INFINITY
  let running: Promise<void> | undefined

  async function load(): Promise<void> {
    try {
      keys = jose().createLocalJWKSet(await fetchKeys(url, agent))
      fetchedAt = now()
      log.info('fetched the keys of a token issuer')
    } catch (error) {
      const kept = keys === undefined ? 'there are none yet' : 'the known ones stay in use'
      log.warn({ err: error }, `cannot fetch the keys of a token issuer: ${kept}`)
    } finally {
      running = undefined
    }
  }

  /** Whoever comes while a request runs waits for that one. */
  function refresh(): Promise<void> | undefined {
    if (running === undefined && now() - triedAt >= (keys === undefined ? firstGap : gap)) {
      triedAt = now()
      running = load()
    }
    return running
  }

  return {
    async key(header, token) {
      if (keys === undefined) await refresh()
      else if (now() - fetchedAt >= freshFor) void refresh()
      const known = keys
      if (known === undefined) throw new KeysUnavailable()
      try {
        return await known(header, token)
      } catch (error) {
        if (!(error instanceof jose().errors.JWKSNoMatchingKey)) throw error
        await refresh()
        if (keys === undefined || keys === known) throw error
        return keys(header, token)
      }
    },
    close: async () => agent.destroy(),
  }
}

async function fetchKeys(url: string, dispatcher: Dispatcher): Promise<JSONWebKeySet> {
  const { statusCode, body } = await undici().request(url, {
    dispatcher,
    headers: { accept: 'application/jwk-set+json, application/json' },
    signal: AbortSignal.timeout(timeout),
  })
  if (statusCode !== 200) {
    body.on('error', () => undefined).destroy()
    throw new Error(`the issuer answered with status ${statusCode}`)
  }
  return publicKeys(await body.json())
}

/** The authorities in a file. Throws UsageError where none of them is any use. */
function trusted(file: string, path: string): string[] {
  const problems: Problem[] = []
  const { authorities, pem } = readAuthorities([file], (_, message) =>
    problems.push({ path, message }),
  )
  const fatal = authorityDoubts(authorities).filter(({ kind }) => kind !== 'partial')
  problems.push(...fatal.map(({ message }) => ({ path, message })))
  if (problems.length > 0) throw new UsageError(problems)
  return pem
}

function keysInFile(file: string, at: string): JWTVerifyGetKey {
  const text = readBytes(file, (message) => {
    throw new UsageError([{ path: at, message }])
  })
  try {
    return jose().createLocalJWKSet(publicKeys(JSON.parse(String(text))))
  } catch {
    throw new UsageError([{ path: at, message: `${file} is no JSON Web Key Set with public keys` }])
  }
}

/** Each token is held against all of them. */
const mostKeys = 100

/** Symmetric keys are left out: with one, whoever can verify can sign. */
function publicKeys(document: unknown): JSONWebKeySet {
  const { keys } = (document ?? {}) as Partial<JSONWebKeySet>
  if (!Array.isArray(keys)) throw new Error('the document has no list of keys')
  const usable = keys.filter(({ kty }) => kty === 'EC' || kty === 'RSA' || kty === 'OKP')
  if (usable.length === 0) throw new Error('the document has no usable key')
  if (usable.length > mostKeys) throw new Error(`the document has more than ${mostKeys} keys`)
  return { keys: usable }
}
