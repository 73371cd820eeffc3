// Walks a parsed document along its schema: fills in defaults (also below the values of a record,
// where TypeBox's own `Default` does not reach), decodes sizes and durations, makes paths absolute,
// and collects every problem instead of stopping at the first. And the way back.
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import type { TSchema } from 'typebox'
import { nearestTo } from './nearest.ts'
import { accepts } from './values/accepts.ts'
import { notations, type Notation } from './values/notations.ts'

/** The part of JSON Schema that the config's schema uses. */
export interface Shape extends TSchema {
  type?: string
  description?: string
  default?: unknown
  defaultText?: string
  valueText?: string
  properties?: Record<string, Shape>
  required?: string[]
  patternProperties?: Record<string, Shape>
  items?: Shape
  /** One value, or a map of such values. */
  anyOf?: Shape[]
  enum?: unknown[]
  minimum?: number
  maximum?: number
  notation?: Notation
  mustBe?: string
  isPath?: boolean
  mayBeUrl?: boolean
  isWatched?: boolean
  orOne?: boolean
  orFile?: boolean
  keyPattern?: string
  keyMustBe?: string
  keyLabel?: string
}

/** A problem and where in the document it is, as keys from the top. */
export interface Finding {
  at: readonly string[]
  message: string
}

interface Walk {
  folder: string
  findings: Finding[]
}

/**
 * The decoded value of `document`. Paths are resolved against `folder`. What is wrong is replaced
 * by its default, or left out, and told in `findings`: only without any is `value` a valid config.
 */
export function decode(
  schema: TSchema,
  document: unknown,
  folder: string,
): { value: unknown; findings: Finding[] } {
  const walk: Walk = { folder, findings: [] }
  const value = decodeValue(walk, schema, document, [])
  return { value, findings: walk.findings }
}

function decodeValue(walk: Walk, shape: Shape, given: unknown, at: readonly string[]): unknown {
  const [one, map] = shape.anyOf ?? []
  if (one !== undefined && map !== undefined) {
    const isMap = typeof given === 'object' && given !== null && !Array.isArray(given)
    return decodeValue(walk, isMap ? map : one, given, at)
  }
  if (shape.properties !== undefined) return decodeObject(walk, shape, given, at)
  if (shape.patternProperties !== undefined) return decodeRecord(walk, shape, given, at)
  if (shape.items !== undefined) return decodeArray(walk, shape, given, at)
  return decodeLeaf(walk, shape, given, at)
}

function decodeObject(walk: Walk, shape: Shape, given: unknown, at: readonly string[]): unknown {
  const properties = shape.properties ?? {}
  const source = asObject(walk, given, at)
  for (const key of Object.keys(source)) {
    if (!Object.hasOwn(properties, key)) {
      walk.findings.push({ at: [...at, key], message: unknownKey(shape, key) })
    }
  }
  const entries = Object.entries(properties).flatMap(([key, property]) => {
    const where = [...at, key]
    if (Object.hasOwn(source, key)) {
      const value = decodeValue(walk, property, source[key], where)
      return value === undefined ? [] : [[key, value] as const]
    }
    if ('default' in property) {
      return [[key, decodeValue(walk, property, property.default, where)] as const]
    }
    if (shape.required?.includes(key) === true) {
      walk.findings.push({ at: where, message: `is missing; ${expectation(property)}` })
    }
    return []
  })
  return Object.fromEntries(entries)
}

function decodeRecord(walk: Walk, shape: Shape, given: unknown, at: readonly string[]): unknown {
  const [item] = Object.values(shape.patternProperties ?? {})
  const source = asObject(walk, given, at)
  const entries = Object.entries(source).flatMap(([key, child]) => {
    const where = [...at, key]
    if (shape.keyPattern !== undefined && !new RegExp(shape.keyPattern).test(key)) {
      walk.findings.push({ at: where, message: `the name must be ${shape.keyMustBe}` })
      return []
    }
    return item === undefined ? [] : [[key, decodeValue(walk, item, child, where)] as const]
  })
  return Object.fromEntries(entries)
}

function decodeArray(walk: Walk, shape: Shape, given: unknown, at: readonly string[]): unknown {
  const { items } = shape
  if (shape.orOne === true && typeof given === 'string') {
    return decodeArray(walk, shape, [given], at)
  }
  if (shape.orFile === true && typeof given === 'string' && given !== '') {
    return absolute(walk.folder, given)
  }
  if (!Array.isArray(given) || items === undefined) {
    walk.findings.push({ at, message: 'must be a list' })
    return fallback(walk, shape, at)
  }
  return given.map((child, index) => decodeValue(walk, items, child, [...at, String(index)]))
}

function decodeLeaf(walk: Walk, shape: Shape, given: unknown, at: readonly string[]): unknown {
  const value = accepts(shape, given) ? meaningOf(shape, given) : undefined
  if (value === undefined) {
    walk.findings.push({ at, message: expectation(shape) })
    return fallback(walk, shape, at)
  }
  if (shape.isPath === true && typeof given === 'string') {
    const isUrl = shape.mayBeUrl === true && given.includes('://')
    return isUrl ? given : absolute(walk.folder, given)
  }
  return value
}

function meaningOf({ notation }: Shape, given: unknown): unknown {
  if (notation === undefined) return given
  const read: (given: never) => unknown = notations[notation].read
  return read(given as never)
}

/** What `decode` reads as `value`, but for paths, which stay absolute. */
export function encode(shape: Shape, value: unknown): unknown {
  if (Array.isArray(value)) {
    const { items } = shape
    return items === undefined ? value : value.map((child) => encode(items, child))
  }
  if (typeof value === 'object' && value !== null) {
    const { properties, patternProperties = {} } = shape.anyOf?.[1] ?? shape
    const [ofRecord] = Object.values(patternProperties)
    const entries = Object.entries(value).map(([key, child]) => {
      const below = properties?.[key] ?? ofRecord
      return [key, below === undefined ? child : encode(below, child)] as const
    })
    return Object.fromEntries(entries)
  }
  const { notation } = shape.anyOf?.[0] ?? shape
  if (notation === undefined || value === undefined) return value
  const write: (value: never) => unknown = notations[notation].write
  return write(value as never)
}

/** What stands in for a wrong value, so that the rest can still be checked. */
function fallback(walk: Walk, shape: Shape, at: readonly string[]): unknown {
  return 'default' in shape ? decodeValue(walk, shape, shape.default, at) : undefined
}

/** A section whose keys are all commented out is null in YAML: that counts as empty. */
function asObject(walk: Walk, given: unknown, at: readonly string[]): Record<string, unknown> {
  if (given === null || given === undefined) return {}
  if (typeof given === 'object' && !Array.isArray(given)) return given as Record<string, unknown>
  walk.findings.push({ at, message: 'must be a section with keys of its own' })
  return {}
}

/** `~` is the home folder of the user that the gateway runs as. */
function absolute(folder: string, path: string): string {
  if (path === '~' || path.startsWith('~/')) return resolve(homedir(), path.slice(2))
  return resolve(folder, path)
}

function expectation(shape: Shape): string {
  if (shape.mustBe !== undefined) return `must be ${shape.mustBe}`
  if (shape.enum !== undefined) return `must be one of ${shape.enum.join(', ')}`
  if (shape.type === 'boolean') return 'must be true or false'
  if (shape.type === 'integer') {
    return `must be a whole number from ${shape.minimum} to ${shape.maximum}`
  }
  if (shape.type === 'object') return 'must be a section with keys of its own'
  return `must be a ${shape.type}`
}

function unknownKey(shape: Shape, key: string): string {
  const known = Object.keys(shape.properties ?? {})
  const near = nearestTo(key, known)
  const deeper = Object.entries(shape.properties ?? {})
    .filter(([, child]) => Object.hasOwn(child.properties ?? {}, key))
    .map(([name]) => `${name}.${key}`)
  const candidates = near.length > 0 ? near : deeper
  const hint =
    candidates.length > 0
      ? `did you mean ${candidates.join(' or ')}?`
      : `known here are ${known.join(', ')}`
  return `is no known key; ${hint}`
}
