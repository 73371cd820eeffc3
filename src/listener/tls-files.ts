// The certificate files of a listener: read, checked one against the other, and only then made
// into TLS options. Node itself ignores PEM that it cannot parse, and finds nothing amiss in an
// expired certificate.
import { constants, type KeyObject, type X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { UsageError, type Problem } from '../errors.ts'
import { expiriesOf } from './expiry.ts'
import type { Expiry } from '../rules/expiry.ts'
import { leafProblems, matchOf, parsePrivateKey } from '../rules/key-pair.ts'
import { tryReading, certificatesIn, pemOfAll, readBytes, type Tell } from '../rules/pem-files.ts'
import type { KnownLists } from './trust/crl-files.ts'
import { readTrust, type ClientTrust } from './trust/authorities.ts'

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

/** Everything that the files of a listener say, checked one against the other. */
export interface TlsCredentials {
  /** For `tls.createSecureContext` and `server.setSecureContext`. */
  context: SecureContextOptions
  trust: ClientTrust
  /** When what is in use ends. */
  expiries: Expiry[]
  /** What is allowed and should not be left so, each beginning with the path of its key. */
  warnings: string[]
}

/**
 * Reads the files of `tls`. Throws UsageError with every problem; `at` is the path of the section
 * in the config, such as `listen.tls`.
 */
export function readTlsFiles(
  tls: ListenerTlsConfig,
  at: string,
  knownLists?: KnownLists,
): TlsCredentials {
  const problems: Problem[] = []
  const warnings: string[] = []
  const tell = (key: string, message: string) => problems.push({ path: `${at}.${key}`, message })
  const cert = readBytes(tls.cert, (message) => tell('cert', message))?.toString()
  const keyPem = readBytes(tls.key, (message) => tell('key', message))?.toString()
  const chain = certificatesIn(cert, (message) => tell('cert', message))
  const privateKey = parseKey(keyPem, (message) => tell('key', message))
  checkLeaf(chain, privateKey, tell)
  const { trust, ca } = readTrust(
    tls,
    tell,
    (message) => warnings.push(`${at}.${message}`),
    knownLists,
  )
  if (problems.length > 0 || privateKey === undefined) throw new UsageError(problems)
  const { minVersion } = tls
  const common = { minVersion, maxVersion: 'TLSv1.3', ciphers, secureOptions } as const
  const pair = {
    cert: pemOfAll(chain),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
  const options = { ...common, ...pair, ...(tls.clientAuth === 'none' ? {} : { ca }) }
  const expiries = expiriesOf(tls, at, chain, trust)
  return { context: accepted(options, at), trust, expiries, warnings }
}

function parseKey(pem: string | undefined, tell: Tell): KeyObject | undefined {
  if (pem === undefined) return undefined
  const encrypted = 'is encrypted: store the key without a passphrase, readable only by the gateway'
  const messages = { withoutPassphrase: encrypted, wrongPassphrase: encrypted }
  return tryReading(() => parsePrivateKey(pem, undefined, messages), tell)
}

function checkLeaf(
  chain: readonly X509Certificate[],
  key: KeyObject | undefined,
  tell: (key: string, message: string) => void,
): void {
  const [leaf] = chain
  if (leaf === undefined) return
  const match = key === undefined ? 'leaf' : matchOf(chain, key)
  if (match === 'leaf') checkChain(chain, (message) => tell('cert', message))
  else if (match === 'none') tell('key', 'does not belong to the certificate in cert')
  else tell('cert', "must begin with the server's own certificate, intermediates after it")
  for (const problem of leafProblems(leaf, 'server')) tell('cert', problem)
}

/** Each certificate behind the first is there because it has issued one before it. */
function checkChain(chain: readonly X509Certificate[], tell: Tell): void {
  const stray = chain.findIndex((certificate, index) => {
    const before = chain.slice(0, index)
    const issued = (one: X509Certificate) =>
      one.checkIssued(certificate) && one.verify(certificate.publicKey)
    return index > 0 && !before.some(issued)
  })
  if (stray > 0) tell(`is no chain: certificate ${stray + 1} has issued none of those before it`)
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
