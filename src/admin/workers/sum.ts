// Sums what the workers of a gateway have counted, those that are no more among them.
import { AggregatorRegistry, type Registry } from 'prom-client'

/** What one worker has counted, and which process that was. */
export interface Counted {
  pid: number
  metrics: Awaited<ReturnType<Registry['getMetricsAsJSON']>>
}

/**
 * Returns what asks all of them and sums. A worker that does not answer counts as it was last; what one
 * that is no more had counted stays in the sums, so that no counter goes back.
 * @param others asks all other workers, by their numbers; undefined for one that does not answer
 */
export function createSum(
  own: Registry,
  others: () => Promise<ReadonlyMap<number, Counted | undefined>>,
): () => Promise<Registry> {
  const last = new Map<number, Counted>()
  /** Sums of those that are no more: one after the other, whoever asks meanwhile. */
  let gone: Promise<Counted['metrics']> = Promise.resolve([])

  function note(number: number, now: Counted): void {
    const before = last.get(number)
    last.set(number, now)
    if (before === undefined || before.pid === now.pid) return
    gone = gone.then(async (sum) =>
      AggregatorRegistry.aggregate([sum, totalsOf(before)]).getMetricsAsJSON(),
    )
  }

  return async () => {
    const [mine, answers] = await Promise.all([own.getMetricsAsJSON(), others()])
    for (const [number, counted] of answers) {
      if (counted !== undefined) note(number, counted)
    }
    return AggregatorRegistry.aggregate([
      mine.map(kept),
      ...[...last.values()].map(({ metrics }) => metrics),
      await gone,
    ])
  }
}

/** With its own value where there is nothing to sum, such as the time of the start. */
function kept(metric: Counted['metrics'][number]): Counted['metrics'][number] {
  return metric.aggregator === 'omit' ? { ...metric, aggregator: 'first' } : metric
}

/** Of counters and histograms; what a gauge says ends with its process. */
function totalsOf({ metrics }: Counted): Counted['metrics'] {
  return metrics.filter(({ type }) => ['counter', 'histogram'].includes(String(type)))
}
