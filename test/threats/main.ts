// `npm run test:threats`: runs the threat table and prints it row by row.
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'portcullis-threats-'))
let failed = 0
let held = 0
for (const file of globSync('test/threats/*.test.ts', { cwd: root }).toSorted()) {
  const report = join(folder, 'report.tap')
  const run = spawnSync(
    process.execPath,
    ['node_modules/tap/dist/esm/run.mjs', `--output-file=${report}`, '--reporter=silent', file],
    { cwd: root, encoding: 'utf8' },
  )
  process.stdout.write(`\n${file}\n`)
  const rows = readFileSync(report, 'utf8').matchAll(
    /^ {4}(not ok|ok) \d+ - (.*?)(?: # time=.*)?$/gm,
  )
  let seen = 0
  for (const [, result, name] of rows) {
    seen += 1
    if (result === 'ok') held += 1
    else failed += 1
    process.stdout.write(`  ${result === 'ok' ? 'HELD  ' : 'BROKEN'}  ${name}\n`)
  }
  if (run.status !== 0 && seen === 0) failed += 1
}
rmSync(folder, { recursive: true })
process.stdout.write(`\n${held} held, ${failed} broken\n`)
process.exitCode = failed === 0 ? 0 : 1
