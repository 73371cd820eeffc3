// Certificate revocation lists for tests, right and wrong.
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import type { TestCertificate } from './certificates.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const hour = 3_600_000

export interface TestCrlOptions {
  issuer: TestCertificate
  revoked?: readonly TestCertificate[]
  /** Serial numbers in hex, beside those of `revoked`. */
  serials?: readonly string[]
  thisUpdate?: Date
  nextUpdate?: Date
  /** CRLNumber, below 128. */
  number?: number
  extensions?: x509.Extension[]
  /** Who signs it in place of the issuer. */
  signer?: TestCertificate
}

export async function makeCrl(options: TestCrlOptions): Promise<{ pem: string; der: Buffer }> {
  const { issuer, revoked = [], serials = [], number = 1 } = options
  const all = [...revoked.map(({ certificate }) => certificate.serialNumber), ...serials]
  const crlNumber = new Uint8Array([0x02, 0x01, number])
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.certificate.subject,
    thisUpdate: options.thisUpdate ?? new Date(Date.now() - hour),
    nextUpdate: options.nextUpdate ?? new Date(Date.now() + hour),
    entries: all.map((serialNumber) => ({ serialNumber, revocationDate: new Date() })),
    extensions: [
      new x509.Extension('2.5.29.20', false, crlNumber),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
      ...(options.extensions ?? []),
    ],
    signingAlgorithm: algorithm,
    signingKey: (options.signer ?? issuer).keys.privateKey,
  })
  return {
    pem: `${x509.PemConverter.encode(crl.rawData, 'X509 CRL')}\n`,
    der: Buffer.from(crl.rawData),
  }
}
