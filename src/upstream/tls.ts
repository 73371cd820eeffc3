// From the `tls` section of an upstream to what `tls.connect` takes: every file is read and checked
// first, because Node ignores PEM that it cannot parse.
import type { KeyObject, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import {
  checkServerIdentity,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
} from 'node:tls'
import { authorityDoubts, readAuthorities } from '../rules/authority-files.ts'
import { certificateExpiries, type Expiry } from '../rules/expiry.ts'
import { leafProblems, matchOf, parsePrivateKey } from '../rules/key-pair.ts'
import { parseCertificates, pemOfAll, readBinaryFile, readTextFile } from '../rules/pem-files.ts'
import type { UpstreamConfig } from '../config/schema.ts'
import { UsageError, type Problem } from '../errors.ts'
import type { Pkcs12 } from './pkcs12/pkcs12.ts'

export type UpstreamTlsConfig = UpstreamConfig['tls']

/** What `tls.connect` takes, as far as the config decides it. */
export interface TlsOptions {
  secureContext: SecureContext
  rejectUnauthorized: boolean
  servername?: string
  checkServerIdentity?: typeof checkServerIdentity
}

export interface TlsProfile {
  /** For the upstream itself. */
  own: TlsOptions
  /** For its token service and download hosts: trusts the same, shows no certificate. */
  foreign: TlsOptions
  hasClientCertificate: boolean
  /** The files that were read. */
  files: string[]
  /** When the client certificate and its chain end. */
  expiries: Expiry[]
  /** What works now and may not for long, such as a client certificate that has expired. */
  warnings: Problem[]
}

/** Two-way shows a client certificate; secure checks that of the upstream. */
export type Mode = 'one-way insecure' | 'one-way secure' | 'two-way insecure' | 'two-way secure'

export function modeOf(isTwoWay: boolean, isSecure: boolean): Mode {
  return `${isTwoWay ? 'two-way' : 'one-way'} ${isSecure ? 'secure' : 'insecure'}`
}

/** What is said of a section `tls` whose `verify` is false. */
export function insecureWarning(at: string): string {
  return `INSECURE: ${at}.verify is false, so whoever answers there is believed; set tls.ca instead`
}

/** What PKCS#12 files hold, or the Error that says why it cannot be read; by `fileKey`. */
export type OpenedPkcs12 = ReadonlyMap<string, Pkcs12 | Error>

type Pkcs12Config = Pick<UpstreamTlsConfig, 'pfx' | 'passphraseFile'>

function fileKey({ pfx, passphraseFile }: Pkcs12Config): string {
  return JSON.stringify([pfx, passphraseFile])
}

/** Opens the PKCS#12 files of several sections, all at once; this can take seconds. */
export async function openPkcs12Files(all: readonly Pkcs12Config[]): Promise<OpenedPkcs12> {
  const opened = all.map(async (tls): Promise<[string, Pkcs12 | Error][]> => {
    const { pfx, passphraseFile } = tls
    if (pfx === undefined) return []
    try {
      // It takes half a second to load, and few have such a file.
      const { readPkcs12 } = await import('./pkcs12/pkcs12.ts')
      const passphrase = passphraseFile === undefined ? undefined : readSecret(passphraseFile)
      return [[fileKey(tls), await readPkcs12(readBinaryFile(pfx), passphrase)]]
    } catch (error) {
      return [[fileKey(tls), error instanceof Error ? error : new Error(String(error))]]
    }
  })
  return new Map((await Promise.all(opened)).flat())
}

/**
 * Reads the files of `tls`, but for its PKCS#12 file, which is in `opened`; `at` is the path of the section, such as `upstreams.quay.io.tls`.
 * Throws UsageError with every problem.
 */
export function readTlsProfile(
  tls: UpstreamTlsConfig,
  at: string,
  opened: OpenedPkcs12,
): TlsProfile {
  const problems: Problem[] = []
  const warnings: Problem[] = []
  const tell = (key: string, message: string) => problems.push({ path: `${at}.${key}`, message })
  const attempt: Attempt = (key, read) => {
    try {
      return read()
    } catch (error) {
      tell(key, messageOf(error))
      return undefined
    }
  }
  const warn = (key: string, message: string) => warnings.push({ path: `${at}.${key}`, message })

  const ca = readTrusted(tls.ca, tell, warn)
  const identity = readIdentity(tls, opened, { attempt, warn })
  if (problems.length > 0) throw new UsageError(problems)

  const trust: SecureContextOptions = {
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
  }
  const key = tls.pfx === undefined ? 'cert' : 'pfx'
  const foreign = attempt('ca', () => contextOf(trust))
  const own =
    identity === undefined ? foreign : attempt(key, () => contextOf({ ...trust, ...identity }))
  if (foreign === undefined || own === undefined) throw new UsageError(problems)
  const { verify: rejectUnauthorized } = tls
  return {
    own: { secureContext: own, rejectUnauthorized, ...nameOptions(tls.serverName) },
    foreign: { secureContext: foreign, rejectUnauthorized },
    hasClientCertificate: identity !== undefined,
    expiries:
      identity === undefined
        ? []
        : certificateExpiries(`${at}.${key}`, tls[key] ?? '', parseCertificates(identity.cert)),
    files: filesOf(tls),
    warnings,
  }
}

function filesOf({ ca, cert, key, pfx, passphraseFile }: UpstreamTlsConfig): string[] {
  return [ca, cert, key, pfx, passphraseFile].filter((file) => file !== undefined)
}

/** What `read` returns; an Error thrown by it becomes a problem of `key`. */
type Attempt = <Value>(key: string, read: () => Value) => Value | undefined
type Warn = (key: string, message: string) => void

/** Outdated authorities are told only: a gateway without its upstream can still serve its cache. */
function readTrusted(file: string | undefined, tell: Warn, warn: Warn): string | undefined {
  if (file === undefined) return undefined
  const { authorities, pem } = readAuthorities([file], (_, message) => tell('ca', message))
  for (const { kind, message } of authorityDoubts(authorities)) {
    ;(kind === 'rootless' ? tell : warn)('ca', message)
  }
  return pem[0]
}

/** The client certificate and its key, not encrypted any more. */
function readIdentity(
  tls: UpstreamTlsConfig,
  opened: OpenedPkcs12,
  { attempt, warn }: { attempt: Attempt; warn: Warn },
): Pkcs12 | undefined {
  const { cert: certFile, key: keyFile, pfx: pfxFile, passphraseFile } = tls
  const passphrase =
    passphraseFile === undefined
      ? undefined
      : attempt('passphraseFile', () => readSecret(passphraseFile))
  // Whoever cannot read the passphrase is told so, and not that it opens nothing.
  if (passphraseFile !== undefined && passphrase === undefined) return undefined
  if (pfxFile !== undefined) {
    return attempt('pfx', () => {
      const pair = opened.get(fileKey(tls))
      if (pair === undefined) throw new Error(`${pfxFile} has not been opened`)
      if (pair instanceof Error) throw pair
      checkLeaf(parseCertificates(pair.cert)[0], (message) => warn('pfx', message))
      return pair
    })
  }
  if (certFile === undefined || keyFile === undefined) return undefined
  const chain = attempt('cert', () => parseCertificates(readTextFile(certFile)))
  const key = attempt('key', () => parsePrivateKey(readTextFile(keyFile), passphrase, encrypted))
  if (chain === undefined || key === undefined) return undefined
  return attempt('key', () => {
    checkPair(chain, key)
    checkLeaf(chain[0], (message) => warn('cert', message))
    return { cert: pemOfAll(chain), key: key.export({ type: 'pkcs8', format: 'pem' }).toString() }
  })
}

/** The first line of a file, as OpenSSL takes it. Throws an Error where it is empty. */
function readSecret(file: string): string {
  const secret = readTextFile(file).split(/\r?\n/, 1)[0] ?? ''
  if (secret === '') throw new Error(`${file} is empty`)
  return secret
}

const encrypted = {
  withoutPassphrase: 'is encrypted: name a file with its passphrase in passphraseFile',
  wrongPassphrase: 'cannot be opened: check the passphrase in passphraseFile',
}

function checkPair(chain: readonly X509Certificate[], key: KeyObject): void {
  const match = matchOf(chain, key)
  if (match === 'none') throw new Error('does not belong to the certificate in cert')
  if (match === 'further down') {
    throw new Error('belongs to a certificate further down in cert: put that one first')
  }
}

/** A gateway with an outdated certificate can still serve its cache: it is told, and it starts. */
function checkLeaf(leaf: X509Certificate | undefined, warn: (message: string) => void): void {
  for (const problem of leaf === undefined ? [] : leafProblems(leaf, 'client')) warn(problem)
}

/** SNI takes no address (RFC 6066), a certificate may have one. */
function nameOptions(serverName: string | undefined): Partial<TlsOptions> {
  if (serverName === undefined) return {}
  if (isIP(serverName) === 0) return { servername: serverName }
  return { checkServerIdentity: (_host, peer) => checkServerIdentity(serverName, peer) }
}

/** Made once: to parse the authorities again for each connection would cost more than a handshake. */
function contextOf(options: SecureContextOptions): SecureContext {
  try {
    return createSecureContext(options)
  } catch (cause) {
    throw new Error(`is refused by OpenSSL: ${messageOf(cause)}`, { cause })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
