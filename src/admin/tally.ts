// Counters as plain numbers, looked up once by their label values.
import { Counter, type Registry } from 'prom-client'

export interface Total {
  total: number
}

/** A counter; the function returned gives the number behind a set of label values. */
export function tally(
  registry: Registry,
  options: { name: string; help: string; labelNames: string[] },
): (...values: string[]) => Total {
  const totals: { labels: Record<string, string>; total: number }[] = []
  const totalOf = memoize((_key: string, values: string[]) => {
    const pairs = options.labelNames.map((name, index) => [name, values[index] ?? ''] as const)
    const entry = { labels: Object.fromEntries(pairs), total: 0 }
    totals.push(entry)
    return entry
  })
  const counter: Counter = new Counter({
    ...options,
    registers: [registry],
    collect() {
      counter.reset()
      for (const { labels, total } of totals) counter.inc(labels, total)
    },
  })
  return (...values) => totalOf(values.join('\n'), values)
}

/** Made once for each key. */
export function memoize<Detail, Value>(make: (key: string, detail: Detail) => Value) {
  const made = new Map<string, Value>()
  return (key: string, detail: Detail): Value => {
    const known = made.get(key)
    if (known !== undefined) return known
    const value = make(key, detail)
    made.set(key, value)
    return value
  }
}
