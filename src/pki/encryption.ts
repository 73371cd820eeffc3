// Private keys under a passphrase, as PEM and in PKCS#12: PBES2 with AES-256 and SHA-256 (RFC 8018).
import { createCipheriv, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import forge from 'node-forge'

const { asn1 } = forge
type Asn1 = forge.asn1.Asn1

const oid = {
  data: '1.2.840.113549.1.7.1',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacSha256: '1.2.840.113549.2.9',
  aes256: '2.16.840.1.101.3.4.1.42',
  sha256: '2.16.840.1.101.3.4.2.1',
  certBag: '1.2.840.113549.1.12.10.1.3',
  keyBag: '1.2.840.113549.1.12.10.1.2',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  localKeyId: '1.2.840.113549.1.9.21',
  friendlyName: '1.2.840.113549.1.9.20',
}

const iterations = { key: 600_000, mac: 100_000 }

/** PEM of the encrypted key; `pkcs8` is DER. */
export function encryptPrivateKey(pkcs8: Buffer, passphrase: string): string {
  const base64 = derOf(encrypted(pkcs8, passphrase)).toString('base64')
  const lines = base64.match(/.{1,64}/g) ?? []
  const label = 'ENCRYPTED PRIVATE KEY'
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

export interface Pkcs12Content {
  /** What a browser shows in its list. */
  friendlyName: string
  /** DER, the leaf first. */
  certificates: readonly Buffer[]
  /** PKCS#8, DER. */
  key: Buffer
}

/** A PKCS#12 file (RFC 7292) that OpenSSL 3, NSS and the systems' key stores read. */
export function pkcs12Of({ friendlyName, certificates, key }: Pkcs12Content, passphrase: string) {
  const id = randomBytes(8)
  const attributes = asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [
    attribute(oid.localKeyId, octets(id)),
    attribute(oid.friendlyName, bmpString(friendlyName)),
  ])
  const certificateBags = certificates.map((der, index) => {
    const bag = sequence(object(oid.x509Certificate), tagged(octets(der)))
    return sequence(object(oid.certBag), tagged(bag), ...(index === 0 ? [attributes] : []))
  })
  const keyBag = sequence(object(oid.keyBag), tagged(encrypted(key, passphrase)), attributes)
  const safe = derOf(sequence(data(sequence(...certificateBags)), data(sequence(keyBag))))
  const content = sequence(object(oid.data), tagged(octets(safe)))
  return derOf(sequence(integer(3), content, macOf(safe, passphrase)))
}

/** EncryptedPrivateKeyInfo, RFC 5958. */
function encrypted(pkcs8: Buffer, passphrase: string): Asn1 {
  const salt = randomBytes(16)
  const iv = randomBytes(16)
  const key = pbkdf2Sync(passphrase, salt, iterations.key, 32, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  const bytes = Buffer.concat([cipher.update(pkcs8), cipher.final()])
  const derivation = sequence(
    octets(salt),
    integer(iterations.key),
    integer(32),
    sequence(object(oid.hmacSha256), none()),
  )
  const scheme = sequence(
    object(oid.pbes2),
    sequence(sequence(object(oid.pbkdf2), derivation), sequence(object(oid.aes256), octets(iv))),
  )
  return sequence(scheme, octets(bytes))
}

/** MacData: the key is derived as in RFC 7292, appendix B, from the passphrase as a BMPString. */
function macOf(safe: Buffer, passphrase: string): Asn1 {
  const salt = randomBytes(16)
  const salted = forge.util.createBuffer(salt.toString('latin1'))
  const macKeyId = 3
  const derived = forge.pkcs12.generateKey(
    passphrase,
    salted,
    macKeyId,
    iterations.mac,
    32,
    forge.md.sha256.create(),
  )
  const key = Buffer.from(derived.getBytes(), 'latin1')
  const mac = createHmac('sha256', key).update(safe).digest()
  const digest = sequence(sequence(object(oid.sha256), none()), octets(mac))
  return sequence(digest, octets(salt), integer(iterations.mac))
}

function data(content: Asn1): Asn1 {
  return sequence(object(oid.data), tagged(octets(derOf(content))))
}

function attribute(type: string, value: Asn1): Asn1 {
  return sequence(object(type), asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [value]))
}

function sequence(...items: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, items)
}

function tagged(item: Asn1): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, asn1.Type.NONE, true, [item])
}

function octets(bytes: Buffer): Asn1 {
  return primitive(asn1.Type.OCTETSTRING, bytes.toString('latin1'))
}

function object(id: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(id).getBytes())
}

function integer(value: number): Asn1 {
  return primitive(asn1.Type.INTEGER, asn1.integerToDer(value).getBytes())
}

function bmpString(text: string): Asn1 {
  return primitive(asn1.Type.BMPSTRING, text)
}

function none(): Asn1 {
  return primitive(asn1.Type.NULL, '')
}

function primitive(type: forge.asn1.Type, bytes: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, bytes)
}

function derOf(item: Asn1): Buffer {
  return Buffer.from(asn1.toDer(item).getBytes(), 'latin1')
}
