// How long to wait before an upstream is asked again for what it failed to send.
const maxFailures = 5

/**
 * Returns what tells how long to wait after a failure, ms; undefined: it is no use any more.
 * @param delay ms, after the second failure in a row without progress; each further one waits
 *   four times as long, and about half to one and a half of that
 */
export function createBackoff(delay: number): (received: number) => number | undefined {
  let failures = 0
  let receivedBefore = 0
  return (received) => {
    failures = received > receivedBefore ? 1 : failures + 1
    receivedBefore = received
    if (failures > maxFailures) return undefined
    return delay * 4 ** (failures - 2) * (0.5 + Math.random())
  }
}
