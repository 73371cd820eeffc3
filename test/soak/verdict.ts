// Judges whether what was measured in a soak stays as it is.
import type { Sample } from './measure.ts'

export interface Point {
  /** Minutes since the beginning. */
  at: number
  /** By the name of a series. */
  values: Record<Series, number>
}

export const series = {
  resident: { name: 'memory, resident', unit: 'MiB' },
  held: { name: 'memory, heap and buffers', unit: 'MiB' },
  descriptors: { name: 'descriptors', unit: '' },
  lag: { name: 'event-loop lag, p99', unit: 'ms' },
  median: { name: 'latency, median', unit: 'ms' },
  p99: { name: 'latency, p99', unit: 'ms' },
} as const
export type Series = keyof typeof series

export interface Verdict {
  series: Series
  name: string
  text: string
  isSteady: boolean
}

/**
 * What a series may grow by over the whole of a soak: a share of its median, and at least so much,
 * which is noise. Resident memory follows what the allocator keeps.
 */
const allowed: Record<Series, { share: number; atLeast: number }> = {
  resident: { share: 0.1, atLeast: 16 },
  held: { share: 0.1, atLeast: 16 },
  descriptors: { share: 0.1, atLeast: 10 },
  lag: { share: 0.5, atLeast: 10 },
  median: { share: 0.5, atLeast: 1 },
  p99: { share: 0.5, atLeast: 10 },
}
/** Caches and compilers fill at first: that share of the time does not count. */
const warmUp = 0.2
const fewest = 10

/** One point a minute, or more where there are few minutes. */
export function pointsOf(samples: readonly Sample[], minutes: number): Point[] {
  const width = Math.min(1, minutes / 20)
  const groups = Map.groupBy(samples, ({ at }) => Math.floor(at / width))
  return [...groups.values()].map((group) => {
    const of = (value: (sample: Sample) => number) => quantile(group.map(value), 0.5)
    const latencies = group.flatMap((sample) => sample.latencies)
    return {
      at: of(({ at }) => at),
      values: {
        resident: of(({ resident }) => resident),
        held: of(({ held }) => held),
        descriptors: of(({ descriptors }) => descriptors),
        lag: of(({ lag }) => lag),
        median: quantile(latencies, 0.5),
        p99: quantile(latencies, 0.99),
      },
    }
  })
}

export function judge(points: readonly Point[]): Verdict[] {
  const end = points.at(-1)?.at ?? 0
  const counted = points.filter(({ at }) => at >= end * warmUp)
  return (Object.keys(series) as Series[]).map((key) => {
    const { name, unit } = series[key]
    const values = counted.map((point) => point.values[key])
    const median = quantile(values, 0.5)
    const growth = slope(counted.map(({ at, values: all }) => [at, all[key]])) * (1 - warmUp) * end
    const { share, atLeast } = allowed[key]
    const most = Math.max(atLeast, share * median)
    const isSteady = counted.length >= fewest && growth <= most
    const grown = `${growth < 0 ? '' : '+'}${growth.toFixed(1)}`
    const text =
      counted.length < fewest
        ? `only ${counted.length} points, too few to judge`
        : `${median.toFixed(1)} ${unit}, ${grown} over the time (at most +${most.toFixed(1)})`
    return { series: key, name, isSteady, text }
  })
}

/** The median of the slopes between all pairs (Theil and Sen): outliers do not count. */
function slope(points: readonly (readonly [number, number])[]): number {
  const slopes = points.flatMap(([x, y], at) =>
    points.slice(at + 1).map(([laterX, laterY]) => (laterY - y) / (laterX - x)),
  )
  return quantile(slopes, 0.5)
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
}
