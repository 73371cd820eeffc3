// The certificate files of a listener: read, checked one against the other, and only then made
// into TLS options. Node itself ignores PEM that it cannot parse, and finds nothing amiss in an
// expired certificate.
import { constants, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { UsageError, type Problem } from '../errors.ts'

const serverAuth = '1.3.6.1.5.5.7.3.1'

/** TLS 1.3 first, then what is left of TLS 1.2 once forward secrecy and AEAD are asked for. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/**
 * No tickets: one would restore a session without looking at dates or revocation again. A client
 * that prefers ChaCha20 has no AES instructions and gets it.
 */
const secureOptions =
  constants.SSL_OP_NO_TICKET |
  constants.SSL_OP_NO_RENEGOTIATION |
  constants.SSL_OP_CIPHER_SERVER_PREFERENCE |
  constants.SSL_OP_PRIORITIZE_CHACHA

/**
 * Reads the files of `tls` and returns what `tls.createSecureContext` and
 * `server.setSecureContext` take. Throws UsageError with every problem; `at` is the path of the
 * section in the config, such as `listen.tls`.
 */
export function readSecureContext(tls: ListenerTlsConfig, at: string): SecureContextOptions {
  const problems: Problem[] = []
  const tell = (key: string, message: string) => problems.push({ path: `${at}.${key}`, message })
  const cert = read(tls.cert, (message) => tell('cert', message))
  const key = read(tls.key, (message) => tell('key', message))
  const chain = parseChain(cert, (message) => tell('cert', message))
  const privateKey = parseKey(key, (message) => tell('key', message))
  checkLeaf(chain, privateKey, tell)
  const ca = tls.clientCa.map((file, index) =>
    readAuthorities(file, (message) => tell(`clientCa.${index}`, message)),
  )
  if (problems.length > 0 || cert === undefined || key === undefined) throw new UsageError(problems)
  const { minVersion } = tls
  const common = { minVersion, maxVersion: 'TLSv1.3', ciphers, secureOptions } as const
  const options = { ...common, cert, key, ...(tls.clientAuth === 'none' ? {} : { ca }) }
  return accepted(options, at)
}

/** The certificates in a PEM text; throws an Error that says which one is broken. */
export function parseCertificates(pem: string): X509Certificate[] {
  const begun = pem.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/g)?.length ?? 0
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  if (begun === 0) throw new Error('has no PEM certificate (-----BEGIN CERTIFICATE-----)')
  return Array.from({ length: begun }, (_, index) => {
    try {
      return new X509Certificate(blocks[index] ?? '')
    } catch (cause) {
      throw new Error(`is damaged: certificate ${index + 1} of ${begun} is unreadable`, { cause })
    }
  })
}

type Tell = (message: string) => void

function read(file: string | undefined, tell: Tell): string | undefined {
  if (file === undefined) {
    tell('is missing')
    return undefined
  }
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    tell(`cannot read ${file}: ${readingFailure(error)}`)
    return undefined
  }
}

function readingFailure(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? String(error)
  const known: Record<string, string> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder',
  }
  return known[code] ?? code
}

function parseChain(pem: string | undefined, tell: Tell): X509Certificate[] {
  if (pem === undefined) return []
  try {
    return parseCertificates(pem)
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error))
    return []
  }
}

function parseKey(pem: string | undefined, tell: Tell): KeyObject | undefined {
  if (pem === undefined) return undefined
  if (/ENCRYPTED/.test(pem)) {
    tell('is encrypted: store the key without a passphrase, readable only by the gateway')
    return undefined
  }
  try {
    return createPrivateKey(pem)
  } catch {
    tell('has no usable PEM private key (-----BEGIN PRIVATE KEY-----)')
    return undefined
  }
}

function checkLeaf(
  chain: readonly X509Certificate[],
  key: KeyObject | undefined,
  tell: (key: string, message: string) => void,
): void {
  const [leaf, ...rest] = chain
  if (leaf === undefined) return
  if (key !== undefined && !leaf.checkPrivateKey(key)) {
    if (rest.some((certificate) => certificate.checkPrivateKey(key))) {
      tell('cert', "must begin with the server's own certificate, intermediates after it")
    } else {
      tell('key', 'does not belong to the certificate in cert')
    }
  }
  if (leaf.validToDate.getTime() <= Date.now()) {
    tell('cert', `has expired on ${leaf.validToDate.toISOString()}: renew it`)
  }
  // Node calls the extended key usage `keyUsage`.
  const purposes = leaf.keyUsage as string[] | undefined
  if (purposes !== undefined && !purposes.includes(serverAuth)) {
    tell('cert', 'is not for servers: its extended key usage lacks serverAuth')
  }
}

function readAuthorities(file: string, tell: Tell): string {
  const pem = read(file, tell)
  const certificates = parseChain(pem, tell)
  const foreign = certificates.findIndex((certificate) => !certificate.ca)
  if (foreign >= 0) tell(`is no authority: certificate ${foreign + 1} of ${file} is not a CA's`)
  const now = Date.now()
  if (certificates.length > 0 && certificates.every((one) => one.validToDate.getTime() <= now)) {
    tell(`has expired: no authority in ${file} is valid any more`)
  }
  return pem ?? ''
}

/** What OpenSSL has against the files, such as a key below its security level, as a problem. */
function accepted(options: SecureContextOptions, at: string): SecureContextOptions {
  try {
    createSecureContext(options)
    return options
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError([{ path: `${at}.cert`, message: `is refused by OpenSSL: ${reason}` }])
  }
}
