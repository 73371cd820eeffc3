// Certificates for tests, right and wrong: also those that the product's own issuing refuses.
import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const day = 86_400_000

/** A key pair of the wrong kind or size, for `keys`. */
export function makeRsaKeys(modulusLength: number): Promise<webcrypto.CryptoKeyPair> {
  const publicExponent = new Uint8Array([1, 0, 1])
  const rsa = { name: 'RSASSA-PKCS1-v1_5', modulusLength, publicExponent, hash: 'SHA-256' }
  return webcrypto.subtle.generateKey(rsa, true, ['sign', 'verify'])
}

export interface TestCertificate {
  certificatePem: string
  keyPem: string
  certificate: x509.X509Certificate
  keys: webcrypto.CryptoKeyPair
}

export interface TestCertificateOptions {
  /** Comma-separated RDNs, first one first in the certificate. */
  subject: string
  /** Self-signed when absent. */
  issuer?: TestCertificate
  ca?: boolean
  /** Extended key usage: `client`, `server`; none at all when absent. */
  purposes?: ('client' | 'server')[]
  dnsNames?: string[]
  ipAddresses?: string[]
  uris?: string[]
  notBefore?: Date
  notAfter?: Date
  /** What the signature is made over; SHA-256 when absent. */
  hash?: 'SHA-1' | 'SHA-256'
  /** Without them names alone tell which authority is meant; there are unless told. */
  keyIdentifiers?: boolean
  /** A critical extension that nobody understands. */
  unknownExtension?: boolean
  /** Instead of a new pair, as where an authority is renewed. */
  keys?: webcrypto.CryptoKeyPair
}

const purposeOids = {
  client: x509.ExtendedKeyUsage.clientAuth,
  server: x509.ExtendedKeyUsage.serverAuth,
}

export async function makeCertificate(options: TestCertificateOptions): Promise<TestCertificate> {
  const keys =
    options.keys ?? (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']))
  const { subject, issuer, ca = false } = options
  const signingKey = (issuer?.keys ?? keys).privateKey
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer?.certificate.subject ?? subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: { ...signingKey.algorithm, hash: options.hash ?? algorithm.hash },
    notBefore: options.notBefore ?? new Date(Date.now() - day),
    notAfter: options.notAfter ?? new Date(Date.now() + day),
    serialNumber: `01${randomBytes(8).toString('hex')}`,
    extensions: [
      ...extensionsOf(options, ca),
      ...(options.keyIdentifiers === false
        ? []
        : [
            await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
            await x509.AuthorityKeyIdentifierExtension.create((issuer?.keys ?? keys).publicKey),
          ]),
    ],
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    keyPem: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
    certificate,
    keys,
  }
}

/** With digitalSignature, so that only the product's own rule stops such a client. */
const caUsage = new x509.KeyUsagesExtension(
  x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature,
  true,
)

function extensionsOf(options: TestCertificateOptions, ca: boolean): x509.Extension[] {
  const names: x509.JsonGeneralNames = [
    ...(options.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(options.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ...(options.uris ?? []).map((value) => ({ type: 'url' as const, value })),
  ]
  const purposes = options.purposes?.map((purpose) => purposeOids[purpose])
  return [
    new x509.BasicConstraintsExtension(ca, undefined, true),
    ...(ca ? [caUsage] : []),
    ...(purposes === undefined ? [] : [new x509.ExtendedKeyUsageExtension(purposes)]),
    ...(options.unknownExtension === true
      ? [new x509.Extension('1.3.6.1.4.1.99999.1', true, new Uint8Array([5, 0]))]
      : []),
    ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
  ]
}
