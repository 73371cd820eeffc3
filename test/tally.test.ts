import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { tally } from './tally.ts'

const summary = (counts: string) => `TAP version 14\n1..2\n# { ${counts} }\n# time=1ms\n`

t.test('passed is what tap counts as passed', async (t) => {
  t.same(tally(summary('total: 57, pass: 57'), 0), { passed: 57, failed: 0 })
  t.same(tally(summary('total: 9, pass: 3, fail: 2, todo: 1, skip: 3'), 1), {
    passed: 3,
    failed: 2,
  })
  t.same(tally(summary('total: 0'), 0), { passed: 0, failed: 0 })
})

t.test('a run that failed never shows zero failures', async (t) => {
  t.same(tally('', 0), { passed: 0, failed: 1 }, 'no report')
  t.same(tally(summary('total: 4, pass: 4'), 1), { passed: 4, failed: 1 }, 'exit code alone')
  const crashed = `not ok 1 - a.test.ts\nnot ok 2 - b.test.ts\n${summary('total: 4, pass: 4')}`
  t.same(tally(crashed, 1), { passed: 4, failed: 2 }, 'files that crashed')
})

t.test("the numbers and the exit code agree with tap's on a real run", async (t) => {
  const folder = t.testdir({
    'package.json': '{"type":"module"}',
    node_modules: t.fixture('symlink', join(import.meta.dirname, '../node_modules')),
    'mixed.test.ts': `import t from 'tap'
      t.test('passes', async (t) => { t.ok(1); t.ok(2) })
      t.test('skipped', { skip: 'no nginx' }, async (t) => { t.ok(1) })
      t.test('fails', async (t) => { t.ok(0) })`,
    'crashes.test.ts': `process.exit(3)`,
  })
  const run = (script: string, ...args: string[]) =>
    spawnSync(process.execPath, [join(import.meta.dirname, script), ...args], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    })
  const config = ['--disable-coverage', '--allow-empty-coverage', '--type-strip-only']
  const files = ['mixed.test.ts', 'crashes.test.ts']
  const tap = run('../node_modules/tap/dist/esm/run.mjs', ...config, '-o', 'report.tap', ...files)
  t.not(tap.status, 0)
  const told = run('tally.ts', 'report.tap', String(tap.status))
  t.equal(told.stdout, '2 passed, 2 failed\n')
  t.equal(told.status, 1)
})
