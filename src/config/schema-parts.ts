// What the config's schema is made of: sizes, durations, paths, choices and closed sections.
//
// Beside JSON Schema's keywords a leaf may carry `mustBe` (ends the sentence "must be …" of its
// error message), `notation` (how the value is written), `isPath` (a file or folder, relative to
// the config file's own), with `mayBeUrl` also an https URL, and with `isWatched: false` not read
// again while the gateway runs; `valueText` and `defaultText` are how the reference puts the value
// and its default. A list with `orOne` may be written as its one entry, one with `orFile` as the
// path of a file that has it. All of it is data: no schema has a function in it.
import Type, { type TSchema, type TSchemaOptions, type TUnsafe } from 'typebox'
import type { Meaning, Notation } from './values/notations.ts'

/** A leaf that is read and written as `notations` has it. */
export function written<N extends Notation>(notation: N, options: TSchemaOptions) {
  return Type.Unsafe<Meaning<N>>(Type.String({ notation, ...options }))
}

export function size(options: TSchemaOptions) {
  return written('size', { mustBe: 'a size such as 50GiB', valueText: 'size', ...options })
}

export function duration(options: TSchemaOptions) {
  return written('duration', {
    mustBe: 'a duration such as 5m',
    valueText: 'duration',
    ...options,
  })
}

export const tagTtl = written('tagTtl', { mustBe: 'a duration such as 5m, or never' })

/** One value for all, or a map of values by the patterns of what they are for. */
export function byPattern<Value extends TSchema>(
  value: Value,
  { keyPattern, keyMustBe, ...options }: TSchemaOptions,
) {
  const map = Type.Record(Type.String(), value, { keyPattern, keyMustBe })
  return Type.Union([value, map], options)
}

/** Bytes a second, above zero. */
export function rate(options: TSchemaOptions) {
  const mustBe = 'a rate above zero such as 8MiB/s or 20Mbit/s'
  return written('rate', { mustBe, valueText: 'rate', ...options })
}

/** A time limit: a duration of at least a millisecond, because 0 would switch the limit off. */
export function limit(options: TSchemaOptions) {
  const mustBe = 'a duration above zero such as 20s'
  return written('durationAboveZero', { mustBe, valueText: 'duration above 0', ...options })
}

export function path(description: string, options: TSchemaOptions = {}) {
  const mustBe = 'the path of a file or folder'
  return Type.String({ minLength: 1, isPath: true, mustBe, description, ...options })
}

export function text(description: string, options: TSchemaOptions = {}) {
  return Type.String({ minLength: 1, mustBe: 'a text that is not empty', description, ...options })
}

/** Names of repositories, with wildcards for parts of them. */
export function namePattern(description: string) {
  return text(description, {
    pattern: String.raw`^[A-Za-z0-9*]([A-Za-z0-9._*/-]*[A-Za-z0-9*])?$`,
    mustBe: 'the name of a repository, with ** for the rest of it, such as old/**',
    valueText: 'name',
  })
}

export function oneOf<const T extends string[]>(
  values: T,
  options: TSchemaOptions,
): TUnsafe<T[number]> {
  return Type.Unsafe<T[number]>(Type.Enum(values, options))
}

export function logLevel(options: TSchemaOptions) {
  return oneOf(['debug', 'info', 'warn', 'error', 'silent'], options)
}

export function host(description: string, byDefault: string) {
  const mustBe = 'an IP address or a host name'
  const pattern = '^[A-Za-z0-9._:%-]+$'
  return text(description, { default: byDefault, pattern, mustBe, valueText: 'address or name' })
}

/** Host names in which `*` stands for any run of characters, but not for the whole name. */
export function hostPatterns(description: string, options: TSchemaOptions = {}) {
  const pattern = String.raw`^(?=.*[a-z0-9])[a-z0-9*]([a-z0-9.*-]*[a-z0-9])?(:\d{1,5})?$`
  const mustBe = 'a lower-case host name such as cdn.example or *.cdn.example'
  return Type.Array(text('One host.', { pattern, mustBe, valueText: 'host name' }), {
    description,
    ...options,
  })
}

/** An address, or a network as `10.0.0.0/8`. */
export function network(description: string) {
  const mustBe = 'an address or a network such as 10.0.0.0/8'
  return written('network', { mustBe, valueText: 'network', description })
}

export function port(description: string, byDefault: number) {
  return Type.Integer({ minimum: 0, maximum: 65_535, default: byDefault, description })
}

/** How many of something, 1 to a million. */
export function count(description: string, byDefault: number) {
  return Type.Integer({ minimum: 1, maximum: 1_000_000, default: byDefault, description })
}

export const closed = { additionalProperties: false }
/** A section whose keys all have a default, so that it may be left out. */
export function section(description: string) {
  return { ...closed, default: {}, description }
}

/** A list of texts that may be written as one text. The description is that of an entry, too. */
export function oneOrMore(description: string, { default: byDefault, ...item }: ListOptions = {}) {
  return Type.Array(text(description, item), {
    orOne: true,
    description,
    ...(byDefault === undefined ? {} : { default: byDefault }),
  })
}

interface ListOptions extends TSchemaOptions {
  default?: string[]
}
