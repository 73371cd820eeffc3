// One thing that a diagnosis looks at, and how it went.
import type { Failure } from '../failure.ts'

export type StepName =
  | 'dns'
  | 'tcp'
  | 'proxy'
  | 'tls'
  | 'http'
  | 'auth'
  | 'manifest'
  | 'range'
  | 'head'
  | 'tags'
  | 'referrers'

/** How a step went. `ms` is left to whoever measures the step as a whole. */
export interface StepVerdict {
  /** `warning`: it works, and not as it should. */
  outcome: 'ok' | 'warning' | 'failed' | 'skipped'
  /** What was found, or what went wrong underneath. */
  detail: string
  /** Where it failed: a word of docs/reference/errors.md. */
  reason?: string
  /** Where it failed: one sentence with the likely cause and the config key to change. */
  message?: string
  /** Milliseconds that it took; absent where nothing was done. */
  ms?: number
}

export interface Step extends StepVerdict {
  step: StepName
}

export interface Stage {
  step: StepName
  /** Never rejects. */
  run: () => Promise<StepVerdict>
}

/** Runs one stage after the other; what comes after a failed one is skipped. */
export async function walk(stages: readonly Stage[]): Promise<Step[]> {
  const steps: Step[] = []
  let broken: StepName | undefined
  for (const { step, run } of stages) {
    if (broken !== undefined) {
      steps.push({ step, ...skipped(`because ${broken} failed`) })
      continue
    }
    const begun = performance.now()
    const verdict = await run()
    const { ms = performance.now() - begun } = verdict
    const isTimed = verdict.outcome !== 'skipped'
    steps.push({ step, ...verdict, ...(isTimed ? { ms: Math.round(ms * 1000) / 1000 } : {}) })
    if (verdict.outcome === 'failed') broken = step
  }
  return steps
}

export function passed(detail: string, ms?: number): StepVerdict {
  return { outcome: 'ok', detail, ...(ms === undefined ? {} : { ms }) }
}

export function skipped(detail: string): StepVerdict {
  return { outcome: 'skipped', detail }
}

export function failed(
  { reason, error }: Pick<Failure, 'reason' | 'error'>,
  ms?: number,
): StepVerdict {
  return {
    outcome: 'failed',
    detail: detailOf(error.cause),
    reason,
    message: error.message,
    ...(ms === undefined ? {} : { ms }),
  }
}

/** The code and the message of an error; one that has only a code, as OpenSSL's, says it as both. */
function detailOf(cause: unknown): string {
  if (!(cause instanceof Error)) return ''
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : ''
  return cause.message.includes(code) ? cause.message : `${code}: ${cause.message}`
}
