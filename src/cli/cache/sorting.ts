// The order of images and blobs in a list.
import { UsageError } from '../../errors.ts'

export const sortOption = {
  type: 'string',
  value: 'size|age|last-pull',
  help: 'the largest, the oldest, or what was not pulled for longest first; by name when absent',
} as const

export interface Sortable {
  size: number
  created: string
  lastPull: string
}

const orders: Record<string, (one: Sortable, other: Sortable) => number> = {
  size: (one, other) => other.size - one.size,
  age: (one, other) => Date.parse(one.created) - Date.parse(other.created),
  'last-pull': (one, other) => Date.parse(one.lastPull) - Date.parse(other.lastPull),
}

/** Throws UsageError `--sort`, before anything is asked. */
export function sorterOf(
  given: string | undefined,
): <Entry extends Sortable>(entries: Entry[]) => Entry[] {
  if (given === undefined) return (entries) => entries
  const order = Object.hasOwn(orders, given) ? orders[given] : undefined
  if (order === undefined) {
    const message = `must be one of ${Object.keys(orders).join(', ')}`
    throw new UsageError([{ path: '--sort', message }])
  }
  return (entries) => entries.toSorted(order)
}

/** `3d`: how long ago that was, in the largest unit of which there is at least one. */
export function ageOf(time: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000))
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}
