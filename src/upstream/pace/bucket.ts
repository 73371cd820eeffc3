// A token bucket of bytes, whose rate may be another one by the hours of the day.
import { isWithinHours, parseHours, type Hours } from '../../config/units.ts'

/** As `maxRate` has it: bytes in a second, or those of parts of the day, in local time. */
export type MaxRate = number | Readonly<Record<string, number>> | undefined

export interface Bucket {
  /** Takes so many bytes, which have come already; what is too many has to be waited for. */
  take: (bytes: number) => void
  /** Whether more may come now. */
  hasRoom: () => boolean
}

/** What may come at once after a rest, in ms of the rate. */
const burst = 200

/**
 * A bucket that is full at first. Without a rate, now or at all, there is always room.
 * @param now milliseconds since 1970
 */
export function createBucket(maxRate: MaxRate, now: () => number): Bucket {
  const rateAt = createRates(maxRate)
  let filledAt = now()
  /** In thousandths of a byte. */
  let left = Infinity

  function fill(): void {
    const time = now()
    const rate = rateAt(time)
    // Nobody knows what a clock that was set back has seen.
    const passed = Math.max(0, time - filledAt)
    filledAt = time
    left = rate === Infinity ? rate : Math.min(burst * rate, left + passed * rate)
  }

  return {
    take(bytes) {
      fill()
      left -= bytes * 1000
    },
    hasRoom() {
      fill()
      return left > 0
    },
  }
}

/** Returns the bytes in a second at a time; of several parts of the day the first one counts. */
function createRates(maxRate: MaxRate): (time: number) => number {
  if (typeof maxRate !== 'object') return () => maxRate ?? Infinity
  const parts = Object.entries(maxRate).flatMap(
    ([text, rate]): { hours: Hours; rate: number }[] => {
      const hours = parseHours(text)
      return hours === undefined ? [] : [{ hours, rate }]
    },
  )
  return (time) => {
    const date = new Date(time)
    const minute = date.getHours() * 60 + date.getMinutes()
    return parts.find(({ hours }) => isWithinHours(hours, minute))?.rate ?? Infinity
  }
}
