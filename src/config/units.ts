// Sizes (`50GiB`), durations (`5m`), rates (`8MiB/s`, `20Mbit/s`) and hours (`08-18`) as people write them.

const sizeUnits: Record<string, number> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
}

/** Links are sold in bits. */
const rateUnits: Record<string, number> = {
  ...Object.fromEntries(Object.entries(sizeUnits).map(([name, bytes]) => [`${name}/s`, bytes])),
  'kbit/s': 1e3 / 8,
  'Mbit/s': 1e6 / 8,
  'Gbit/s': 1e9 / 8,
}

const durationUnits: Record<string, number> = {
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3600e3,
  d: 86_400e3,
}

/** Bytes, or `undefined` where `text` is no size. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, sizeUnits)
}

/** Milliseconds, or `undefined` where `text` is no duration. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, durationUnits)
}

/** Bytes a second, or `undefined` where `text` is no rate. */
export function parseRate(text: string): number | undefined {
  return parseQuantity(text, rateUnits)
}

/** Minutes of a day, of `08-18` or `22:30-06`: from the first to before the second one. */
export interface Hours {
  from: number
  to: number
}

/** `undefined` where `text` is no part of a day. */
export function parseHours(text: string): Hours | undefined {
  const match = /^(\d{1,2})(?::([0-5]\d))?-(\d{1,2})(?::([0-5]\d))?$/.exec(text)
  if (match === null) return undefined
  const [from = 0, fromMinute, to = 0, toMinute] = match.slice(1).map((part) => Number(part ?? 0))
  const hours = { from: from * 60 + (fromMinute ?? 0), to: to * 60 + (toMinute ?? 0) }
  return hours.from === hours.to || hours.from >= day || hours.to > day ? undefined : hours
}

const day = 24 * 60

/** Whether a minute of the day is among them; they may go on after midnight. */
export function isWithinHours({ from, to }: Hours, minute: number): boolean {
  return from < to ? minute >= from && minute < to : minute >= from || minute < to
}

/** `50GiB`: bytes in the largest unit that keeps them whole; `parseSize` reads it back. */
export function formatSize(bytes: number): string {
  return formatQuantity(bytes, sizeUnits, ['TiB', 'GiB', 'MiB', 'KiB', 'B'])
}

/** `12.3 MiB`: bytes for people, in the largest unit of which there is at least one. */
export function roughSize(bytes: number): string {
  const units = ['TiB', 'GiB', 'MiB', 'KiB'] as const
  const unit = units.find((name) => bytes >= (sizeUnits[name] ?? 1))
  return unit === undefined
    ? `${bytes} B`
    : `${(bytes / (sizeUnits[unit] ?? 1)).toFixed(1)} ${unit}`
}

/** `5m`: milliseconds in the largest unit that keeps them whole. */
export function formatDuration(ms: number): string {
  return formatQuantity(ms, durationUnits, ['d', 'h', 'm', 's', 'ms'])
}

/** `8MiB/s`, `20Mbit/s`: bytes a second in the largest unit that keeps them whole. */
export function formatRate(bytes: number): string {
  const names = ['TiB/s', 'GiB/s', 'MiB/s', 'KiB/s', 'Gbit/s', 'Mbit/s', 'kbit/s', 'B/s']
  return formatQuantity(bytes, rateUnits, names)
}

function formatQuantity(amount: number, units: Record<string, number>, names: string[]): string {
  const fits = (name: string) => amount % (units[name] ?? 1) === 0
  const name = amount === 0 ? names.at(-1) : names.find(fits)
  return `${amount / (units[name ?? ''] ?? 1)}${name}`
}

function parseQuantity(text: string, units: Record<string, number>): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+(?:\/s)?)$/.exec(text)
  const factor = match?.[2] === undefined ? undefined : units[match[2]]
  return factor === undefined ? undefined : Math.round(Number(match?.[1]) * factor)
}
