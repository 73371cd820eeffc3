// Distinguished names as RFC 4514 writes them, read part by part: a comma within a value parts nothing.
import { compileGlob, coversGlob } from './glob.ts'

/** One relative name: attributes that belong together, in an order of their own. */
type Part = readonly Attribute[]

interface Attribute {
  /** Lower-case. */
  type: string
  /** Without escapes; in a pattern `*` is any run of characters. */
  value: string
}

/** A part of a pattern that stands for others: `*` for at least one, `**` for any number. */
type PatternPart = Part | '*' | '**'

export interface NamePattern {
  /** @param name a whole name, RFC 4514; what is none is matched by nothing */
  matches(name: string): boolean
}

/** RFC 4514, section 3: these may be written either way. */
const typesByOid: Readonly<Record<string, string>> = {
  '2.5.4.3': 'cn',
  '2.5.4.6': 'c',
  '2.5.4.7': 'l',
  '2.5.4.8': 'st',
  '2.5.4.9': 'street',
  '2.5.4.10': 'o',
  '2.5.4.11': 'ou',
  '0.9.2342.19200300.100.1.1': 'uid',
  '0.9.2342.19200300.100.1.25': 'dc',
  '1.2.840.113549.1.9.1': 'emailaddress',
}

/** `CN=edge-*,O=Example`, part by part in this order; undefined where `text` is no such pattern. */
export function compileNamePattern(text: string): NamePattern | undefined {
  const pattern = parsePattern(text)
  if (pattern === undefined) return undefined
  return {
    matches(name) {
      const parts = parseName(name)
      return parts !== undefined && parts.length > 0 && matchParts(pattern, parts)
    },
  }
}

/** Whether every name that `inner` matches is matched by `outer`; may be wrong only with `false`. */
export function coversNamePattern(outer: string, inner: string): boolean {
  if (outer === inner || outer === '*' || outer === '**') return true
  const wide = parsePattern(outer)
  const narrow = parsePattern(inner)
  if (wide === undefined || narrow?.length !== wide.length) return false
  return wide.every((part, index) => {
    const other = narrow[index]
    if (typeof part === 'string' || other === undefined || typeof other === 'string') {
      return part === other
    }
    return isSameSet(part, other, (one, two) => coversGlob(one, two, undefined))
  })
}

function parsePattern(text: string): PatternPart[] | undefined {
  const parts: PatternPart[] = []
  for (const part of splitAt(text, ',') ?? []) {
    const trimmed = part.trim()
    const parsed = trimmed === '*' || trimmed === '**' ? trimmed : parsePart(part)
    if (parsed === undefined) return undefined
    parts.push(parsed)
  }
  return parts.length === 0 ? undefined : parts
}

function parseName(text: string): Part[] | undefined {
  const parts = (splitAt(text, ',') ?? []).map(parsePart)
  return parts.every((part) => part !== undefined) ? parts : undefined
}

function parsePart(text: string): Part | undefined {
  const attributes = (splitAt(text, '+') ?? []).map(parseAttribute)
  const isWhole = attributes.length > 0 && attributes.every((attribute) => attribute !== undefined)
  return isWhole ? attributes : undefined
}

function parseAttribute(text: string): Attribute | undefined {
  const match = /^ *([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+) *=(.*)$/s.exec(text)
  if (match?.[1] === undefined || match[2] === undefined) return undefined
  const value = unescapeValue(withoutSpaces(match[2].replace(/^ +/, '')))
  return value === undefined
    ? undefined
    : { type: typesByOid[match[1]] ?? match[1].toLowerCase(), value }
}

/** At each `separator` that is neither escaped nor within quotes; undefined for an open end. */
function splitAt(text: string, separator: ',' | '+'): string[] | undefined {
  const parts: string[] = []
  let start = 0
  let isQuoted = false
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index]
    if (char === '\\') {
      index += 1
      if (index === text.length) return undefined
    } else if (char === '"') isQuoted = !isQuoted
    else if (char === separator && !isQuoted) {
      parts.push(text.slice(start, index))
      start = index + 1
    }
  }
  return isQuoted ? undefined : [...parts, text.slice(start)]
}

/** Spaces at the end belong to the value only where they are escaped. */
function withoutSpaces(value: string): string {
  let end = value.length
  while (value[end - 1] === ' ') end -= 1
  return value[end - 1] === '\\' && end < value.length
    ? value.slice(0, end + 1)
    : value.slice(0, end)
}

/** RFC 4514, section 2.4; in quotes as its predecessor RFC 1779 had it. */
export function unescapeValue(value: string): string | undefined {
  const isQuoted = value.length > 1 && value.startsWith('"') && value.endsWith('"')
  const bytes: Buffer[] = []
  const text = isQuoted ? value.slice(1, -1) : value
  for (let index = 0; index < text.length;) {
    const hex = /^\\([0-9A-Fa-f]{2})/.exec(text.slice(index, index + 3))?.[1]
    if (hex !== undefined) {
      bytes.push(Buffer.from(hex, 'hex'))
      index += 3
      continue
    }
    if (text[index] === '\\') index += 1
    const next = text.indexOf('\\', index + 1)
    const end = next < 0 ? text.length : next
    if (index === text.length) return undefined
    bytes.push(Buffer.from(text.slice(index, end)))
    index = end
  }
  return Buffer.concat(bytes).toString('utf8')
}

function matchParts(pattern: readonly PatternPart[], name: readonly Part[]): boolean {
  // Which beginnings of the name the pattern has matched so far: bounded by the two lengths.
  let reached = new Set([0])
  for (const part of pattern) {
    const next = new Set<number>()
    if (typeof part === 'string') {
      const first = Math.min(...reached) + (part === '*' ? 1 : 0)
      for (let at = first; at <= name.length; at += 1) next.add(at)
    } else {
      for (const at of reached) {
        const own = name[at]
        if (own !== undefined && isSameSet(part, own, isGlobOf)) next.add(at + 1)
      }
    }
    if (next.size === 0) return false
    reached = next
  }
  return reached.has(name.length)
}

/** Each attribute of the one is one of the other, in any order (X.501, section 9.3). */
function isSameSet(
  pattern: Part,
  name: Part,
  isOf: (pattern: string, value: string) => boolean,
): boolean {
  if (pattern.length !== name.length) return false
  const left = [...name]
  return pattern.every(({ type, value }) => {
    const index = left.findIndex((other) => other.type === type && isOf(value, other.value))
    if (index >= 0) left.splice(index, 1)
    return index >= 0
  })
}

function isGlobOf(pattern: string, value: string): boolean {
  return compileGlob(pattern, undefined).matches(value)
}
