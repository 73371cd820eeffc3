// Runs a folder of tests and prints each test as a row of a table: held, broken or skipped.
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const words = { held: 'HELD   ', broken: 'BROKEN ', skipped: 'SKIPPED' }

type Result = keyof typeof words

/** Runs every `*.test.ts` of the folder, one after the other: the exit code. */
export function printRows(folder: string): number {
  const temporary = mkdtempSync(join(tmpdir(), 'portcullis-rows-'))
  const counts = { held: 0, broken: 0, skipped: 0 }
  try {
    for (const file of globSync('*.test.ts', { cwd: folder }).toSorted()) {
      process.stdout.write(`\n${file}\n`)
      for (const { name, result } of rowsOf(join(folder, file), join(temporary, 'report.tap'))) {
        counts[result] += 1
        process.stdout.write(`  ${words[result]}  ${name}\n`)
      }
    }
  } finally {
    rmSync(temporary, { recursive: true })
  }
  const { held, broken, skipped } = counts
  process.stdout.write(`\n${held} held, ${broken} broken, ${skipped} skipped\n`)
  return broken === 0 ? 0 : 1
}

/** @param report where the TAP goes; a program that fails beside its rows is a row, too */
function rowsOf(file: string, report: string): { name: string; result: Result }[] {
  rmSync(report, { force: true })
  const run = spawnSync(
    process.execPath,
    [
      'node_modules/tap/dist/esm/run.mjs',
      `--output-file=${report}`,
      '--reporter=silent',
      '--timeout=600',
      file,
    ],
    { cwd: root, encoding: 'utf8' },
  )
  const lines = readReport(report).matchAll(/^ {4}(not ok|ok) \d+ - (.*)$/gm)
  const rows = [...lines].map(([, word = '', text = '']) => ({
    name: text.replace(/ # time=.*$/, ''),
    result: resultOf(word, text),
  }))
  const isTold = rows.length > 0 && (run.status === 0 || rows.some(isBroken))
  return isTold ? rows : [...rows, { name: `the file as a whole: ${run.stderr}`, result: 'broken' }]
}

function readReport(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function resultOf(word: string, text: string): Result {
  if (word !== 'ok') return 'broken'
  return /# SKIP/i.test(text) ? 'skipped' : 'held'
}

function isBroken({ result }: { result: Result }): boolean {
  return result === 'broken'
}
