// What of the shelf is measured: one number to alarm on.
import { Gauge, type Registry } from 'prom-client'

interface ShelfImage {
  /** Milliseconds since 1970; absent: it is there. */
  missingSince?: number
}

export interface ShelfPart {
  /** Asked at each scrape for what the site must hold. */
  shelf: (ask: () => readonly ShelfImage[]) => void
}

export function shelfMetrics(registry: Registry): ShelfPart {
  let ask: () => readonly ShelfImage[] = () => []
  const gauge = (name: string, help: string, valueOf: () => number | undefined) => {
    const measured: Gauge = new Gauge({
      name,
      help,
      aggregator: 'first',
      registers: [registry],
      collect() {
        const value = valueOf()
        if (value === undefined) measured.remove()
        else measured.set(value)
      },
    })
  }
  const missing = () =>
    ask().flatMap(({ missingSince }) => (missingSince === undefined ? [] : [missingSince]))
  gauge('portcullis_shelf_images', 'Images that the site must hold.', () => ask().length)
  gauge(
    'portcullis_shelf_missing_images',
    'Those of them that are missing, or of which something is; 0: everything is here.',
    () => missing().length,
  )
  gauge(
    'portcullis_shelf_missing_since_seconds',
    'Since when the first of them is missing, as Unix time; absent while nothing is.',
    () => (missing().length === 0 ? undefined : Math.min(...missing()) / 1000),
  )
  return { shelf: (next) => void (ask = next) }
}
