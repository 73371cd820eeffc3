// What a PKCS#12 file holds, as PEM. Not given to Node as `pfx`, because Node then also trusts every
// authority in it: a CA that issues client certificates could pass for any upstream.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import forge from 'node-forge'

export interface Pkcs12 {
  /** The certificate that belongs to the key first, then the others. */
  cert: string
  /** PKCS#8, not encrypted. */
  key: string
}

/** Reads a PKCS#12 file (RFC 7292); throws an Error that says what is wrong with it. */
export function readPkcs12(bytes: Buffer, passphrase: string | undefined): Pkcs12 {
  const bags = open(bytes, passphrase)
  const { certBag, keyBag, pkcs8ShroudedKeyBag } = forge.pki.oids
  const bag = bags.find(({ type }) => type === keyBag || type === pkcs8ShroudedKeyBag)
  const certificates = bags.filter(({ type }) => type === certBag).map(certificateOf)
  if (bag === undefined) throw new Error('holds no private key: export it with its key')
  const key = keyOf(bag)
  const own = certificates.find((certificate) => certificate.checkPrivateKey(key))
  if (own === undefined) throw new Error('holds no certificate that belongs to its private key')
  const chain = [own, ...certificates.filter((certificate) => certificate !== own)]
  return { cert: chain.join(''), key: key.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

function open(bytes: Buffer, passphrase: string | undefined): forge.pkcs12.Bag[] {
  let document: forge.asn1.Asn1
  try {
    document = forge.asn1.fromDer(bytes.toString('latin1'))
  } catch (cause) {
    throw new Error('is no PKCS#12 file (binary, usually .p12 or .pfx)', { cause })
  }
  try {
    const { safeContents } = forge.pkcs12.pkcs12FromAsn1(document, passphrase ?? '')
    return safeContents.flatMap(({ safeBags }) => safeBags)
  } catch (cause) {
    const isLocked = cause instanceof Error && /password|mac|decrypt/i.test(cause.message)
    const hint = isLocked
      ? 'cannot be opened: check the passphrase in passphraseFile'
      : 'is no PKCS#12 file that can be read: export it again with openssl pkcs12 -export'
    throw new Error(hint, { cause })
  }
}

/** What forge does not know, such as elliptic curves, it leaves as ASN.1. */
function certificateOf({ cert, asn1 }: Partial<forge.pkcs12.Bag>): X509Certificate {
  return new X509Certificate(derOf(cert ? forge.pki.certificateToAsn1(cert) : asn1))
}

function keyOf({ key, asn1 }: Partial<forge.pkcs12.Bag>) {
  const document = key ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(key)) : asn1
  return createPrivateKey({ key: derOf(document), format: 'der', type: 'pkcs8' })
}

function derOf(document: forge.asn1.Asn1 | undefined): Buffer {
  if (document === undefined) throw new Error('has an empty entry')
  return Buffer.from(forge.asn1.toDer(document).getBytes(), 'latin1')
}
