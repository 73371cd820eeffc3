// The report in its three forms.
import t from 'tap'
import { junitOf, reportOf, tablesOf } from './report.ts'
import type { Cell } from './walk.ts'

const good: Cell = {
  matrix: 'upstream',
  row: 'one-way secure',
  column: 'one-way',
  expected: 'pulled',
  got: 'pulled',
  ok: true,
  seconds: 0.25,
}
const bad: Cell = { ...good, column: 'two-way', got: 'failed: <no> "answer" & more', ok: false }
const report = reportOf('native', [good, bad])

t.test('counts', async (t) => {
  t.match(report, { form: 'native', passed: 1, failed: 1 })
})

t.test('a table, and a line for each cell that is wrong', async (t) => {
  t.equal(
    tablesOf(report, false),
    [
      'gateway mode    one-way   two-way',
      'one-way secure  ✓ pulled  ✗ see below',
      '',
      '✗ one-way secure × two-way: expected pulled, got failed: <no> "answer" & more',
      '1 cells as expected, 1 not',
      '',
    ].join('\n'),
  )
  t.match(tablesOf(report, true), '\u001b[32m✓ pulled\u001b[39m')
  t.match(tablesOf(report, true), '\u001b[31m✗ see below\u001b[39m')
})

t.test('JUnit XML, with what XML forbids escaped', async (t) => {
  t.equal(
    junitOf(report),
    [
      '<?xml version="1.0" encoding="UTF-8"?>',
      '<testsuites name="tls-matrix" tests="2" failures="1">',
      '  <testsuite name="upstream" tests="2" failures="1">',
      '    <testcase classname="matrix.native.upstream" name="one-way secure × one-way" time="0.250"/>',
      '    <testcase classname="matrix.native.upstream" name="one-way secure × two-way" time="0.250">',
      '      <failure message="expected pulled, got failed: &lt;no&gt; &quot;answer&quot; &amp; more"/>',
      '    </testcase>',
      '  </testsuite>',
      '</testsuites>',
      '',
    ].join('\n'),
  )
})
