// How much the cache may take, and how much of its disk stays free.
import { statfsSync } from 'node:fs'
import type { Logger } from 'pino'
import { formatSize, roughSize } from '../../config/units.ts'

/** Bytes. */
export interface RoomLimits {
  maxBytes: number
  minFree: number
}

type GivenLimits = { [Limit in keyof RoomLimits]?: number | undefined }

const usualFree = 2 * 2 ** 30

/** What is not given follows from the file system of `dir`; all of it is told. */
export function roomLimits(dir: string, given: GivenLimits, log: Logger): RoomLimits {
  const { blocks, bsize } = statfsSync(dir)
  const total = blocks * bsize
  const limits = {
    maxBytes: given.maxBytes ?? Math.floor(0.8 * total),
    minFree: given.minFree ?? Math.floor(Math.min(usualFree, 0.05 * total)),
  }
  const { maxBytes, minFree } = limits
  const text = `the cache takes ${roughSize(maxBytes)} at most, and leaves ${roughSize(minFree)} free`
  log.info({ maxBytes, minFree, fileSystemBytes: total, freeBytes: freeBytesOf(dir) }, text)
  return limits
}

/** Free for this user; all there can be where that cannot be told. */
export function freeBytesOf(dir: string): number {
  try {
    const { bavail, bsize } = statfsSync(dir)
    return bavail * bsize
  } catch {
    return Infinity
  }
}

/** What is wrong with the limits, where pins need more than they allow. */
export function pinnedTooMuch(pinned: number, { maxBytes }: RoomLimits): string[] {
  if (pinned <= maxBytes) return []
  const least = formatSize(Math.ceil(pinned / 2 ** 20) * 2 ** 20)
  return [
    `cache.maxBytes is less than what is pinned (${roughSize(pinned)}): nothing else is kept; raise it to ${least}, or unpin`,
  ]
}
