// Reads DER (X.690) where it is met by the ten thousand: positions in a buffer, and no objects
// but those that are asked for.

export const tags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  boolean: 0x01,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** One element: its first byte is at `at`, its content from `from` up to `to`. */
export interface Element {
  tag: number
  at: number
  from: number
  to: number
}

/** The element at `at`, which must end by `limit`. Throws an Error where there is none. */
export function elementAt(der: Buffer, at: number, limit: number = der.length): Element {
  const tag = der[at]
  const first = der[at + 1]
  if (tag === undefined || first === undefined || at + 2 > limit) throw damaged()
  const size = first < 0x80 ? 0 : first & 0x7f
  // Indefinite lengths are BER; more than four bytes are longer than any buffer.
  if (first === 0x80 || size > 4 || at + 2 + size > limit) throw damaged()
  const from = at + 2 + size
  const to = from + (size === 0 ? first : der.readUIntBE(at + 2, size))
  if (to > limit) throw damaged()
  return { tag, at, from, to }
}

/** The elements inside of one that is a sequence, or anything else that is constructed. */
export function childrenOf(der: Buffer, { from, to }: Element): Element[] {
  const children: Element[] = []
  for (let at = from; at < to;) {
    const child = elementAt(der, at, to)
    children.push(child)
    at = child.to
  }
  return children
}

export function contentOf(der: Buffer, { from, to }: Element): Buffer {
  return der.subarray(from, to)
}

/** With tag and length. */
export function encodingOf(der: Buffer, { at, to }: Element): Buffer {
  return der.subarray(at, to)
}

/** The element, provided that it is there and has that tag. */
export function expect(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag) throw damaged()
  return element
}

/** A positive integer in lower-case hex without leading zero bytes, as serial numbers are compared. */
export function integerHex(der: Buffer, { from, to }: Element): string {
  let start = from
  while (start < to - 1 && der[start] === 0) start += 1
  return der.toString('hex', start, to)
}

/** UTCTime or GeneralizedTime in the forms of RFC 5280, section 4.1.2.5; milliseconds. */
export function timeOf(der: Buffer, element: Element): number {
  const text = der.toString('latin1', element.from, element.to)
  const short = element.tag === tags.utcTime
  const match = (short ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/).exec(text)
  const [, year = '', rest = ''] = match ?? []
  const century = short ? (Number(year) < 50 ? '20' : '19') : ''
  const [month, day, hour, minute, second] = rest.match(/../g) ?? []
  const time = Date.parse(`${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  if (Number.isNaN(time)) throw new Error('has a date that cannot be read')
  return time
}

/** Dotted notation. */
export function oidOf(der: Buffer, element: Element): string {
  const arcs: number[] = []
  let arc = 0
  for (const byte of contentOf(der, element)) {
    arc = arc * 128 + (byte & 0x7f)
    if (byte < 0x80) {
      arcs.push(arc)
      arc = 0
    }
  }
  const [first = 0, ...others] = arcs
  const root = Math.min(Math.floor(first / 40), 2)
  return [root, first - root * 40, ...others].join('.')
}

function damaged(): Error {
  return new Error('is damaged: it is no valid DER')
}
