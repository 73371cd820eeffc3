// How values are written that are no texts themselves, by the names that `notation` of a leaf has.
import { availableParallelism } from 'node:os'
import { compileImageGlob } from '../../rules/glob.ts'
import { addressList } from '../../rules/network.ts'
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from '../units.ts'

export const notations = {
  size: { read: parseSize, write: formatSize },
  duration: { read: parseDuration, write: formatDuration },
  durationAboveZero: {
    read: (text: string) => aboveZero(parseDuration(text)),
    write: formatDuration,
  },
  /** How long a tag holds: a duration, or for ever. */
  tagTtl: {
    read: (text: string) => (text === 'never' ? Infinity : parseDuration(text)),
    write: (ms: number) => (ms === Infinity ? 'never' : formatDuration(ms)),
  },
  /** Bytes a second, above zero. */
  rate: { read: (text: string) => aboveZero(parseRate(text)), write: formatRate },
  /** An address, or a network as `10.0.0.0/8`. */
  network: { read: (text: string) => (isNetwork(text) ? text : undefined), write: String },
  /** How many processes. */
  workers: {
    read: (given: unknown) => (given === 'auto' ? availableParallelism() : countOf(given)),
    write: (count: number) => count,
  },
  /** A count in a query, where everything is text. */
  rows: { read: rowsOf, write: String },
  /** Which images; nobody writes one back. */
  images: { read: compileImageGlob, write: () => '' },
} as const

export type Notation = keyof typeof notations

/** What is meant by a text of that notation. */
export type Meaning<N extends Notation> = Exclude<
  ReturnType<(typeof notations)[N]['read']>,
  undefined
>

/** Of a page. */
export const mostRows = 1000

function aboveZero(amount: number | undefined): number | undefined {
  return amount === undefined || amount <= 0 ? undefined : amount
}

function isNetwork(text: string): boolean {
  try {
    addressList([text])
    return true
  } catch {
    return false
  }
}

function countOf(given: unknown): number | undefined {
  return Number.isSafeInteger(given) && Number(given) >= 1 ? Number(given) : undefined
}

function rowsOf(text: string): number | undefined {
  const count = Number(text)
  return /^\d{1,4}$/.test(text) && count >= 1 && count <= mostRows ? count : undefined
}
