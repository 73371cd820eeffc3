// From the `tls` section of an upstream to what `tls.connect` takes: every file is read and checked
// first, because Node ignores PEM that it cannot parse.
import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import {
  checkServerIdentity,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
} from 'node:tls'
import { parseCertificates, readBinaryFile, readTextFile } from '../rules/pem-files.ts'
import type { UpstreamConfig } from '../config/schema.ts'
import { UsageError, type Problem } from '../errors.ts'
import { readPkcs12, type Pkcs12 } from './pkcs12.ts'

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
  /** What works now and may not for long, such as a client certificate that has expired. */
  warnings: Problem[]
}

/**
 * Reads the files of `tls`; `at` is the path of the section, such as `upstreams.quay.io.tls`.
 * Throws UsageError with every problem.
 */
export function readTlsProfile(tls: UpstreamTlsConfig, at: string): TlsProfile {
  const problems: Problem[] = []
  const warnings: Problem[] = []
  const attempt: Attempt = (key, read) => {
    try {
      return read()
    } catch (error) {
      problems.push({ path: `${at}.${key}`, message: messageOf(error) })
      return undefined
    }
  }
  const warn = (key: string, message: string) => warnings.push({ path: `${at}.${key}`, message })

  const ca = readAuthorities(tls, attempt, warn)
  const identity = readIdentity(tls, attempt, warn)
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

function readAuthorities(tls: UpstreamTlsConfig, attempt: Attempt, warn: Warn): string | undefined {
  const { ca: file } = tls
  if (file === undefined) return undefined
  return attempt('ca', () => {
    const pem = readTextFile(file)
    if (parseCertificates(pem).every(isExpired)) {
      warn('ca', 'has expired: no authority in it is valid any more')
    }
    return pem
  })
}

/** The client certificate and its key, not encrypted any more. */
function readIdentity(tls: UpstreamTlsConfig, attempt: Attempt, warn: Warn): Pkcs12 | undefined {
  const { cert: certFile, key: keyFile, pfx: pfxFile, passphraseFile } = tls
  const passphrase =
    passphraseFile === undefined
      ? undefined
      : attempt('passphraseFile', () => readSecret(passphraseFile))
  // Whoever cannot read the passphrase is told so, and not that it opens nothing.
  if (passphraseFile !== undefined && passphrase === undefined) return undefined
  if (pfxFile !== undefined) {
    return attempt('pfx', () => {
      const pair = readPkcs12(readBinaryFile(pfxFile), passphrase)
      checkLeaf(parseCertificates(pair.cert)[0], (message) => warn('pfx', message))
      return pair
    })
  }
  if (certFile === undefined || keyFile === undefined) return undefined
  const cert = attempt('cert', () => {
    const pem = readTextFile(certFile)
    return { pem, chain: parseCertificates(pem) }
  })
  const key = attempt('key', () => parseKey(readTextFile(keyFile), passphrase))
  if (cert === undefined || key === undefined) return undefined
  return attempt('key', () => {
    checkPair(cert.chain, key)
    checkLeaf(cert.chain[0], (message) => warn('cert', message))
    return { cert: cert.pem, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() }
  })
}

/** The first line of a file, as OpenSSL takes it. Throws an Error where it is empty. */
function readSecret(file: string): string {
  const secret = readTextFile(file).split(/\r?\n/, 1)[0] ?? ''
  if (secret === '') throw new Error(`${file} is empty`)
  return secret
}

function parseKey(pem: string, passphrase: string | undefined): KeyObject {
  const isEncrypted = /ENCRYPTED/.test(pem)
  if (isEncrypted && passphrase === undefined) {
    throw new Error('is encrypted: name a file with its passphrase in passphraseFile')
  }
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase })
  } catch (cause) {
    const hint = isEncrypted
      ? 'cannot be opened: check the passphrase in passphraseFile'
      : 'has no usable PEM private key (-----BEGIN PRIVATE KEY-----)'
    throw new Error(hint, { cause })
  }
}

function checkPair([leaf, ...rest]: readonly X509Certificate[], key: KeyObject): void {
  if (leaf === undefined || leaf.checkPrivateKey(key)) return
  if (rest.some((certificate) => certificate.checkPrivateKey(key))) {
    throw new Error('belongs to a certificate further down in cert: put that one first')
  }
  throw new Error('does not belong to the certificate in cert')
}

/** A gateway with an outdated certificate can still serve its cache: it is told, and it starts. */
function checkLeaf(leaf: X509Certificate | undefined, warn: (message: string) => void): void {
  if (leaf === undefined) return
  if (isExpired(leaf)) warn(`has expired on ${leaf.validToDate.toISOString()}: renew it`)
  // Node calls the extended key usage `keyUsage`.
  const purposes = leaf.keyUsage as string[] | undefined
  if (purposes !== undefined && !purposes.includes('1.3.6.1.5.5.7.3.2')) {
    warn('is not for clients: its extended key usage lacks clientAuth')
  }
}

function isExpired(certificate: X509Certificate): boolean {
  return certificate.validToDate.getTime() <= Date.now()
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
