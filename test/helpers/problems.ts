// What a promise that must fail with UsageError complains about.
import { UsageError, type Problem } from '../../src/errors.ts'

/** The problems of the UsageError that `promise` rejects with; throws where it does not. */
export async function problemsOf(promise: Promise<unknown>): Promise<readonly Problem[]> {
  const outcome: unknown = await promise.catch((error: unknown) => error)
  if (outcome instanceof UsageError) return outcome.problems
  throw new Error('expected a UsageError', { cause: outcome })
}
