// Says how a test run ended: `node test/tally.ts REPORT EXIT_CODE` prints `N passed, N failed`.
import { readFileSync } from 'node:fs'

interface Tally {
  passed: number
  failed: number
}

/**
 * The counts that tap itself wrote at the end of its TAP report; a skipped or to-do test counts as
 * neither. A run that failed without a failed assertion (a crash, a file that reports nothing)
 * counts at least one failure.
 */
export function tally(report: string, exitCode: number): Tally {
  const counts = /^# \{ total: .*\}$/m.exec(report)?.[0] ?? ''
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(counts)?.[1] ?? 0)
  const failedFiles = report.match(/^not ok /gm)?.length ?? 0
  const atLeast = exitCode === 0 && counts !== '' ? 0 : 1
  return { passed: count('pass'), failed: Math.max(count('fail'), failedFiles, atLeast) }
}

if (import.meta.main) {
  const [file = '', exitCode = '1'] = process.argv.slice(2)
  const { passed, failed } = tally(read(file), Number(exitCode))
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  process.exitCode = failed === 0 ? 0 : 1
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
