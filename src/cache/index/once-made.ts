// Answers once the index has been made anew what nobody else can answer before.
import { setTimeout as delay } from 'node:timers/promises'
import { GatewayError } from '../../errors.ts'
import { isOutage, isRefusal } from '../../oci/failure-scope.ts'
import type { KeptIndex } from './kept-index.ts'

/** An index that may be made just now. */
interface Making {
  index: Pick<KeptIndex['index'], 'isProvisional'>
  whole: KeptIndex['whole']
}

type Answers<Args extends unknown[], Answer> = (...args: Args) => Answer | Promise<Answer>

/**
 * While a long journal is read into an index nothing is known, and the upstream is asked. Whoever it
 * does not answer waits for the index, and asks the cache again.
 * @param patience ms; beyond it the failure is what it was
 */
export function onceMade<Args extends unknown[], Answer>(
  { index, whole }: Making,
  answers: Answers<Args, Answer>,
  patience = 30_000,
): Answers<Args, Answer> {
  return (...args) =>
    index.isProvisional() ? answeredAgain(async () => answers(...args)) : answers(...args)

  async function answeredAgain(answer: () => Promise<Answer>): Promise<Answer> {
    try {
      return await answer()
    } catch (error) {
      if (!isUnanswered(error)) throw error
      const over = new AbortController()
      const { signal } = over
      const late = delay(patience, undefined, { signal }).catch(() => undefined)
      await Promise.race([whole(), late])
      over.abort()
      if (index.isProvisional()) throw error
      return answer()
    }
  }
}

/** Nobody could be asked, or is to be. */
function isUnanswered(error: unknown): boolean {
  const isOffline = error instanceof GatewayError && error.code === 'UNAVAILABLE'
  return isOffline || isOutage(error) || isRefusal(error)
}
