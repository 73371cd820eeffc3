// Revocation lists byte by byte: what the library does not write, and by the hundred thousand.
import { constants, sign, type KeyObject } from 'node:crypto'

export const der = {
  of(tag: number, ...parts: readonly Uint8Array[]): Buffer {
    const content = Buffer.concat(parts)
    const size = content.length
    if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), content])
    const hex = size.toString(16)
    const length = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
    return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content])
  },
  sequence: (...parts: readonly Uint8Array[]): Buffer => der.of(0x30, ...parts),
  hex: (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex'),
  time: (date: Date): Buffer => {
    const text = `${date.toISOString().slice(2, 19).replaceAll(/[-T:]/g, '')}Z`
    return der.of(0x17, Buffer.from(text))
  },
  /** A name of attributes: OID as hex of its content, tag of the string, text. */
  name: (...attributes: readonly (readonly [oid: string, tag: number, text: string])[]): Buffer =>
    der.sequence(
      ...attributes.map(([oid, tag, text]) =>
        der.of(0x31, der.sequence(der.of(6, der.hex(oid)), der.of(tag, Buffer.from(text)))),
      ),
    ),
  /** An extension of 2.5.29.x. */
  extension: (arc: number, critical: boolean, value: Uint8Array): Buffer =>
    der.sequence(
      der.of(6, Buffer.from([0x55, 0x1d, arc])),
      ...(critical ? [der.hex('0101ff')] : []),
      der.of(4, value),
    ),
}

const sha256 = der.sequence(der.hex('0609608648016503040201 0500'))
const algorithms = {
  ecdsa: der.hex('300a06082a8648ce3d040302'),
  ecdsa384: der.hex('300a06082a8648ce3d040303'),
  /** RSA-PSS, SHA-256, 32 bytes of salt. */
  pss: der.sequence(
    der.hex('06092a864886f70d01010a'),
    der.sequence(
      der.of(0xa0, sha256),
      der.of(0xa1, der.sequence(der.hex('06092a864886f70d010108'), sha256)),
      der.hex('a203020120'),
    ),
  ),
}

export interface RawCrl {
  issuer: Buffer
  key: KeyObject
  algorithm?: keyof typeof algorithms
  /** The algorithm outside of what is signed, where it is another one. */
  outside?: keyof typeof algorithms
  /** Hex without leading zeros. */
  serials?: readonly string[]
  entryExtensions?: readonly Buffer[]
  extensions?: readonly Buffer[]
  nextUpdate?: Date
}

const hour = 3_600_000

export function rawCrl(options: RawCrl): Buffer {
  const { algorithm = 'ecdsa', serials = [], extensions = [], entryExtensions = [] } = options
  const revokedAt = der.time(new Date())
  const extra = entryExtensions.length === 0 ? [] : [der.sequence(...entryExtensions)]
  const entries = serials.map((serial) => {
    const positive = parseInt(serial.slice(0, 2), 16) < 0x80 ? serial : `00${serial}`
    return der.sequence(der.of(2, der.hex(positive)), revokedAt, ...extra)
  })
  const signed = der.sequence(
    der.hex('020101'),
    algorithms[algorithm],
    options.issuer,
    der.time(new Date(Date.now() - hour)),
    der.time(options.nextUpdate ?? new Date(Date.now() + hour)),
    ...(entries.length === 0 ? [] : [der.sequence(Buffer.concat(entries))]),
    ...(extensions.length === 0 ? [] : [der.of(0xa0, der.sequence(...extensions))]),
  )
  const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  const key = algorithm === 'pss' ? { key: options.key, ...padding } : options.key
  const signature = sign(algorithm === 'ecdsa384' ? 'sha384' : 'sha256', signed, key)
  return der.sequence(
    signed,
    algorithms[options.outside ?? algorithm],
    der.of(3, Buffer.from([0]), signature),
  )
}
