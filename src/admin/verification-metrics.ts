// How far the verification of what is stored is.
import { Counter, Gauge, type Registry } from 'prom-client'
import type { VerificationState } from '../cache/verification/verification.ts'

/** Returns what is told whom to ask at each scrape. */
export function createVerificationMetrics(
  registry: Registry,
): (state: () => VerificationState) => void {
  let ask: (() => VerificationState) | undefined
  const registers = [registry]
  const gauge = (
    name: string,
    help: string,
    valueOf: (state: VerificationState) => number | undefined,
  ) => {
    const metric: Gauge = new Gauge({
      name,
      help,
      aggregator: 'first',
      registers,
      collect: () => metric.set((ask === undefined ? undefined : valueOf(ask())) ?? 0),
    })
  }
  gauge(
    'portcullis_verification_progress_ratio',
    'How much of what is stored has been hashed in the pass under way, or in the last one: 0 to 1.',
    ({ share }) => share,
  )
  gauge(
    'portcullis_verification_flaws',
    'What was found wrong, unreadable or missing in that pass.',
    ({ flaws }) => flaws,
  )
  gauge(
    'portcullis_verification_ended_timestamp_seconds',
    'When the last pass had hashed everything, as Unix time; 0 while one is under way, or before the first.',
    ({ ended }) => (ended === undefined ? undefined : ended / 1000),
  )
  const bytes: Counter = new Counter({
    name: 'portcullis_verified_bytes_total',
    help: 'Bytes of stored files that were read to be hashed again, beside what clients read.',
    registers,
    collect() {
      bytes.reset()
      bytes.inc(ask?.().bytesOfAll ?? 0)
    },
  })
  return (state) => void (ask = state)
}
