// Runs long work at once, or a step in each turn of the event loop.
import { setImmediate } from 'node:timers/promises'

/** Work that may be interrupted wherever it yields. */
export type Steps<Result> = Generator<void, Result, void>

export function atOnce<Result>(steps: Steps<Result>): Result {
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}

/** Waits until everybody else had a turn. */
export type Turn = () => Promise<unknown>

export async function inTurns<Result>(
  steps: Steps<Result>,
  turn: Turn = setImmediate,
): Promise<Result> {
  let step = steps.next()
  while (step.done !== true) {
    await turn()
    step = steps.next()
  }
  return step.value
}
