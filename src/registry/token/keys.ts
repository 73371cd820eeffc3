// The keys that sign the gateway's own tokens: made where there are none, replaced when they are
// old, the one before kept for the tokens that it signed.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import type { JSONWebKeySet, JWK, JWTPayload } from 'jose'
import { jose } from '../../rules/rare/packages.ts'
import type { Logger } from 'pino'
import { systemCode, UsageError } from '../../errors.ts'
import type { KeySource } from '../../identity/jwks.ts'

export interface TokenKeys {
  /** A JWT signed with the newest key; `typ` is its header parameter. */
  sign: (claims: JWTPayload, typ: string) => Promise<string>
  /** Every public key that is accepted, the newest one first (RFC 7517). */
  jwks: () => JSONWebKeySet
  source: KeySource
}

export interface TokenKeysOptions {
  file: string
  /** Age at which the newest key is replaced, ms. */
  rotateEvery: number
  log: Logger
  now?: () => number
}

interface SigningKey {
  createdAt: number
  key: KeyObject
  publicJwk: JWK
}

const checkEvery = 3_600_000

/**
 * Opens the key file, or makes it (mode 0600). It is PEM: PKCS#8 keys, newest first, each after a
 * line `Created: <ISO 8601>`. Throws UsageError where it cannot be used.
 */
export function openTokenKeys({
  file,
  rotateEvery,
  log,
  now = Date.now,
}: TokenKeysOptions): TokenKeys {
  let seen = stateOf(file)
  let keys = openFile(file, now(), log)
  let find = jose().createLocalJWKSet(jwks())

  function jwks(): JSONWebKeySet {
    return { keys: keys.map(({ publicJwk }) => publicJwk) }
  }

  function use(next: SigningKey[]): void {
    keys = next
    find = jose().createLocalJWKSet(jwks())
  }

  /** Another process may have replaced the keys; whether it has. */
  function follow(): boolean {
    const state = stateOf(file)
    if (state === seen) return false
    // What comes while it is read is followed the next time.
    seen = state
    try {
      use(readKeys(file) ?? keys)
      return true
    } catch (error) {
      log.error({ err: error }, 'the keys that sign tokens cannot be read again: those in use stay')
      return false
    }
  }

  function rotate(): void {
    follow()
    const [newest] = keys
    if (newest === undefined || now() - newest.createdAt < rotateEvery) return
    const next = [createKey(now()), newest]
    try {
      replaceFile(file, next)
    } catch (error) {
      log.error({ err: error }, 'cannot write the new token key: the old one stays in use')
      return
    }
    use(next)
    log.info('the key that signs tokens was replaced')
  }

  rotate()
  const timer = setInterval(rotate, checkEvery)
  timer.unref()
  return {
    async sign(claims, typ) {
      rotate()
      const [newest] = keys
      if (newest === undefined) throw new Error('there is no key')
      const header = {
        alg: 'ES256',
        typ,
        ...(newest.publicJwk.kid === undefined ? {} : { kid: newest.publicJwk.kid }),
      }
      const { SignJWT } = jose()
      return new SignJWT(claims).setProtectedHeader(header).sign(newest.key)
    },
    jwks,
    source: {
      async key(header, token) {
        try {
          return await find(header, token)
        } catch (error) {
          if (!follow()) throw error
          return find(header, token)
        }
      },
      close: async () => clearInterval(timer),
    },
  }
}

/** Changes where the file does. */
function stateOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs} ${stat.size}`
}

/** Throws UsageError where the file is there and cannot be used; changes nothing. */
export function checkTokenKeys(file: string): void {
  readKeys(file)
}

function openFile(file: string, now: number, log: Logger): SigningKey[] {
  const existing = readKeys(file)
  if (existing !== undefined) {
    if ((statSync(file).mode & 0o077) !== 0) {
      log.warn({ file }, 'others can read the key that signs tokens: set its mode to 0600')
    }
    return existing
  }
  const created = [createKey(now)]
  try {
    const temporary = writeTemporary(file, created)
    try {
      // Unlike a rename this never replaces the key that another process has just made.
      linkSync(temporary, file)
    } finally {
      rmSync(temporary, { force: true })
    }
    return created
  } catch (error) {
    const made = readKeys(file)
    if (made !== undefined) return made
    throw unusable(`cannot be made at ${file}: ${systemCode(error)}`)
  }
}

/** The keys in the file; undefined where there is none yet. Throws UsageError where it cannot be used. */
export function readKeys(file: string): SigningKey[] | undefined {
  let text
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw unusable(`cannot read ${file}: ${systemCode(error)}`)
  }
  const blocks = text.matchAll(
    /(?:^Created: (\S+)\n)?(-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----)/gm,
  )
  const keys = [...blocks].map(([, created, pem]) => {
    const createdAt = created === undefined ? statSync(file).mtimeMs : Date.parse(created)
    return describe(parseKey(pem ?? '', file), createdAt)
  })
  if (keys.length === 0) throw unusable(`${file} holds no PEM private key: remove it for a new one`)
  if (keys.some(({ createdAt }) => Number.isNaN(createdAt))) {
    throw unusable(`${file} has a "Created:" line that is no date`)
  }
  return keys
}

function parseKey(pem: string, file: string): KeyObject {
  let key
  try {
    key = createPrivateKey(pem)
  } catch {
    throw unusable(`${file} holds a damaged private key`)
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw unusable(`${file} must hold EC keys on the curve P-256`)
  }
  return key
}

function createKey(now: number): SigningKey {
  return describe(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, now)
}

function describe(key: KeyObject, createdAt: number): SigningKey {
  const { kty, crv, x, y } = createPublicKey(key).export({ format: 'jwk' })
  // RFC 7638: the members in this order.
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  return { key, createdAt, publicJwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } as JWK }
}

function replaceFile(file: string, keys: readonly SigningKey[]): void {
  const temporary = writeTemporary(file, keys)
  try {
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

function writeTemporary(file: string, keys: readonly SigningKey[]): string {
  const temporary = `${file}.${randomUUID()}`
  const text = keys.map(
    ({ key, createdAt }) =>
      `Created: ${new Date(createdAt).toISOString()}\n${String(key.export({ type: 'pkcs8', format: 'pem' }))}`,
  )
  const descriptor = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(descriptor, text.join(''))
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  return temporary
}

function unusable(message: string): UsageError {
  return new UsageError([{ path: 'auth.tokenService.key', message }])
}
