// Reads what a PKCS#12 file holds, as PEM. Not given to Node as `pfx`, because Node then also trusts
// every authority in it: a CA that issues client certificates could pass for any upstream.
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import forge from 'node-forge'
import { pemOfAll } from '../../rules/pem-files.ts'
import { bytesOf, children, decrypt, isMacRight, oidText } from './pkcs12-keys.ts'

type Asn1 = forge.asn1.Asn1

export interface Pkcs12 {
  /** The certificate that belongs to the key first, then the others. */
  cert: string
  /** PKCS#8, not encrypted. */
  key: string
}

interface Contents {
  keys: KeyObject[]
  certificates: X509Certificate[]
}

const oids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  nestedBag: '1.2.840.113549.1.12.10.1.6',
} as const

/**
 * Reads a PKCS#12 file (RFC 7292). Rejects with an Error that says what is wrong with it. Others get
 * their turn meanwhile, however many iterations it asks for.
 */
export async function readPkcs12(bytes: Buffer, passphrase: string | undefined): Promise<Pkcs12> {
  const { keys, certificates } = await open(bytes, passphrase ?? '')
  const [key] = keys
  if (key === undefined) throw new Error('holds no private key: export it with its key')
  const own = certificates.find((certificate) => certificate.checkPrivateKey(key))
  if (own === undefined) throw new Error('holds no certificate that belongs to its private key')
  const chain = [own, ...certificates.filter((certificate) => certificate !== own)]
  return { cert: pemOfAll(chain), key: key.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

async function open(bytes: Buffer, passphrase: string): Promise<Contents> {
  const { safe, mac } = partsOf(bytes)
  const locked = 'cannot be opened: check the passphrase in passphraseFile'
  const contents: Contents = { keys: [], certificates: [] }
  if (mac !== undefined && !(await isMacRight(mac, safe, passphrase))) throw new Error(locked)
  try {
    for (const info of children(parse(safe))) {
      await readSafe(await openSafe(info, passphrase), passphrase, contents)
    }
    return contents
  } catch (cause) {
    const hint = mac === undefined ? locked : 'is no PKCS#12 file that can be read: export it again'
    throw new Error(`${hint} (${cause instanceof Error ? cause.message : String(cause)})`, {
      cause,
    })
  }
}

/** `PFX ::= SEQUENCE { version, authSafe ContentInfo, macData? }` */
function partsOf(bytes: Buffer): { safe: Buffer; mac: Asn1 | undefined } {
  try {
    const [, info, mac] = children(parse(bytes))
    const [, content] = children(info)
    return { safe: bytesOf(children(content)[0]), mac }
  } catch (cause) {
    throw new Error('is no PKCS#12 file (binary, usually .p12 or .pfx)', { cause })
  }
}

/** A ContentInfo: as it is, or locked under the passphrase. */
async function openSafe(info: Asn1, passphrase: string): Promise<Buffer> {
  const [type, content] = children(info)
  const [inner] = children(content)
  if (oidText(type) === oids.data) return bytesOf(inner)
  if (oidText(type) !== oids.encryptedData) throw new Error('it is locked by a public key')
  const [, encrypted] = children(inner)
  const [, algorithm, locked] = children(encrypted)
  return decrypt(algorithm, bytesOf(locked), passphrase)
}

/** `SafeContents ::= SEQUENCE OF SafeBag { type, value, attributes? }` */
async function readSafe(safe: Buffer, passphrase: string, contents: Contents): Promise<void> {
  for (const bag of children(parse(safe))) {
    const [type, value] = children(bag)
    const [content] = children(value)
    switch (oidText(type)) {
      case oids.keyBag:
        contents.keys.push(keyOf(derOf(content)))
        break
      case oids.shroudedKeyBag: {
        const [algorithm, locked] = children(content)
        contents.keys.push(keyOf(await decrypt(algorithm, bytesOf(locked), passphrase)))
        break
      }
      case oids.certBag: {
        const [, wrapped] = children(content)
        contents.certificates.push(new X509Certificate(bytesOf(children(wrapped)[0])))
        break
      }
      case oids.nestedBag:
        await readSafe(derOf(content), passphrase, contents)
        break
    }
  }
}

function keyOf(der: Buffer): KeyObject {
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

function parse(bytes: Buffer): Asn1 {
  return forge.asn1.fromDer(bytes.toString('latin1'))
}

function derOf(document: Asn1 | undefined): Buffer {
  if (document === undefined) throw new Error('an entry is empty')
  return Buffer.from(forge.asn1.toDer(document).getBytes(), 'latin1')
}
