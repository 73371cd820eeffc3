// Derives the keys of PKCS#12 files and opens what they lock, without stopping anything else: files of
// browsers and key stores ask for hundreds of thousands of iterations.
import { createDecipheriv, createHmac, hash, pbkdf2 } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import forge from 'node-forge'

type Asn1 = forge.asn1.Asn1

/** What a derived key is for (RFC 7292, appendix B.3). */
const purposes = { key: 1, iv: 2, mac: 3 } as const

/** Iterations before others get their turn: some milliseconds. */
const batch = 5000
const mostIterations = 10_000_000

const hashes: Readonly<Record<string, { name: string; block: number; size: number }>> = {
  '1.3.14.3.2.26': { name: 'sha1', block: 64, size: 20 },
  '2.16.840.1.101.3.4.2.1': { name: 'sha256', block: 64, size: 32 },
  '2.16.840.1.101.3.4.2.2': { name: 'sha384', block: 128, size: 48 },
  '2.16.840.1.101.3.4.2.3': { name: 'sha512', block: 128, size: 64 },
}

const hmacs: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
}

const ciphers: Readonly<Record<string, { name: string; size: number }>> = {
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', size: 24 },
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', size: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', size: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', size: 32 },
}

const pbes2 = '1.2.840.113549.1.5.13'
const pbkdf2Oid = '1.2.840.113549.1.5.12'
const pbmac1 = '1.2.840.113549.1.5.14'
/** Of RFC 7292, appendix C: triple DES, and RC2 with 40 bits. */
const tripleDes = '1.2.840.113549.1.12.1.3'
const rc2 = '1.2.840.113549.1.12.1.6'

const derive = promisify(pbkdf2)

/** Whether `mac`, a MacData, is that of `content` under the passphrase. */
export async function isMacRight(mac: Asn1, content: Buffer, passphrase: string): Promise<boolean> {
  const [info, salt, rounds] = children(mac)
  const [algorithm, digest] = children(info)
  const [oid, parameters] = children(algorithm)
  if (oidText(oid) === pbmac1) {
    const [derivation, scheme] = children(parameters)
    const [, derived] = children(derivation)
    const name = known(hmacs, oidText(children(scheme)[0]))
    const key = await deriveByPbkdf2(derived, passphrase, undefined)
    return createHmac(name, key).update(content).digest().equals(bytesOf(digest))
  }
  const { name, size } = known(hashes, oidText(oid))
  const key = await derivePkcs12({
    passphrase,
    salt: bytesOf(salt),
    iterations: rounds === undefined ? 1 : numberOf(rounds),
    hash: oidText(oid),
    purpose: purposes.mac,
    size,
  })
  return createHmac(name, key).update(content).digest().equals(bytesOf(digest))
}

/** Opens what `algorithm`, an AlgorithmIdentifier, has locked. Throws an Error for a wrong passphrase. */
export async function decrypt(
  algorithm: Asn1 | undefined,
  locked: Buffer,
  passphrase: string,
): Promise<Buffer> {
  const [oid, parameters] = children(algorithm)
  const name = oidText(oid)
  if (name === pbes2) return decryptPbes2(parameters, locked, passphrase)
  if (name !== tripleDes && name !== rc2) throw new Error(`the cipher ${name} is not supported`)
  const [salt, rounds] = children(parameters)
  const common = {
    passphrase,
    salt: bytesOf(salt),
    iterations: numberOf(rounds),
    hash: '1.3.14.3.2.26',
  }
  const isRc2 = name === rc2
  const key = await derivePkcs12({ ...common, purpose: purposes.key, size: isRc2 ? 5 : 24 })
  const iv = await derivePkcs12({ ...common, purpose: purposes.iv, size: 8 })
  return isRc2 ? decryptRc2(key, iv, locked) : unlock('des-ede3-cbc', key, iv, locked)
}

async function decryptPbes2(parameters: Asn1 | undefined, locked: Buffer, passphrase: string) {
  const [derivation, scheme] = children(parameters)
  const [derivationOid, derived] = children(derivation)
  if (oidText(derivationOid) !== pbkdf2Oid) throw new Error('the key derivation is not supported')
  const [cipherOid, iv] = children(scheme)
  const { name, size } = known(ciphers, oidText(cipherOid))
  return unlock(name, await deriveByPbkdf2(derived, passphrase, size), bytesOf(iv), locked)
}

/** `PBKDF2-params` (RFC 8018, appendix A.2); the passphrase is UTF-8. */
async function deriveByPbkdf2(
  parameters: Asn1 | undefined,
  passphrase: string,
  wanted: number | undefined,
): Promise<Buffer> {
  const [salt, rounds, ...rest] = children(parameters)
  const length = rest.find(({ type }) => type === forge.asn1.Type.INTEGER)
  const prf = rest.find(({ type }) => type === forge.asn1.Type.SEQUENCE)
  const name = prf === undefined ? 'sha1' : known(hmacs, oidText(children(prf)[0]))
  const size = wanted ?? (length === undefined ? 0 : numberOf(length))
  if (size === 0) throw new Error('has a MAC without a key length (RFC 9579): export it again')
  return derive(passphrase, bytesOf(salt), bounded(numberOf(rounds)), size, name)
}

interface Pkcs12Derivation {
  passphrase: string
  salt: Buffer
  iterations: number
  /** Object identifier. */
  hash: string
  purpose: number
  /** Bytes of the key. */
  size: number
}

/** RFC 7292, appendix B.2; the passphrase is UTF-16 with two zero bytes behind it. */
async function derivePkcs12(derivation: Pkcs12Derivation): Promise<Buffer> {
  const { passphrase, salt, purpose, size } = derivation
  const iterations = bounded(derivation.iterations)
  const { name, block } = known(hashes, derivation.hash)
  const text = Buffer.from(`${passphrase}\0`, 'utf16le').swap16()
  const input = Buffer.concat([fill(salt, block), fill(text, block)])
  const parts: Buffer[] = []
  for (let length = 0; length < size;) {
    let part = Buffer.concat([Buffer.alloc(block, purpose), input])
    for (let round = 0; round < iterations; round += 1) {
      part = hash(name, part, 'buffer')
      if (round % batch === batch - 1) await setImmediate()
    }
    parts.push(part)
    length += part.length
    addToEach(input, fill(part, block).subarray(0, block), block)
  }
  return Buffer.concat(parts).subarray(0, size)
}

/** Repeated up to whole blocks. */
function fill(bytes: Buffer, block: number): Buffer {
  return Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes)
}

/** To every block of `input`, in place: itself + `more` + 1, as big-endian numbers. */
function addToEach(input: Buffer, more: Buffer, block: number): void {
  for (let start = 0; start < input.length; start += block) {
    let carry = 1
    for (let at = block - 1; at >= 0; at -= 1) {
      const sum = (input[start + at] ?? 0) + (more[at] ?? 0) + carry
      input[start + at] = sum & 0xff
      carry = sum >> 8
    }
  }
}

function unlock(name: string, key: Buffer, iv: Buffer, locked: Buffer): Buffer {
  const cipher = createDecipheriv(name, key, iv)
  return Buffer.concat([cipher.update(locked), cipher.final()])
}

/** OpenSSL 3 has put it away. */
function decryptRc2(key: Buffer, iv: Buffer, locked: Buffer): Buffer {
  const cipher = forge.rc2.createDecryptionCipher(key.toString('latin1'), 40)
  cipher.start(iv.toString('latin1'))
  cipher.update(forge.util.createBuffer(locked.toString('latin1')))
  if (!cipher.finish()) throw new Error('the passphrase is wrong')
  return Buffer.from(cipher.output.getBytes(), 'latin1')
}

/** The parts of something constructed; throws an Error where it is none. */
export function children(node: Asn1 | undefined): Asn1[] {
  if (node === undefined || !Array.isArray(node.value)) throw new Error('is no PKCS#12 file')
  return node.value
}

/** The content of a string of bytes, which older programs write in pieces. */
export function bytesOf(node: Asn1 | undefined): Buffer {
  if (node === undefined) throw new Error('is no PKCS#12 file')
  if (Array.isArray(node.value)) return Buffer.concat(node.value.map(bytesOf))
  return Buffer.from(node.value, 'latin1')
}

export function oidText(node: Asn1 | undefined): string {
  return forge.asn1.derToOid(bytesOf(node).toString('latin1'))
}

function numberOf(node: Asn1 | undefined): number {
  return Number(`0x${bytesOf(node).toString('hex')}`)
}

function bounded(iterations: number): number {
  if (iterations >= 1 && iterations <= mostIterations) return iterations
  throw new Error(`asks for ${iterations} iterations`)
}

function known<Value>(table: Readonly<Record<string, Value>>, oid: string): Value {
  const value = table[oid]
  if (value === undefined) throw new Error(`the algorithm ${oid} is not supported`)
  return value
}
