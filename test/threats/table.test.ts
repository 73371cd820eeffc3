// The table in SECURITY.md and the tests beside this file say the same.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

t.test('every threat that SECURITY.md names is tried, and no other', async (t) => {
  const document = readFileSync(join(import.meta.dirname, '../../SECURITY.md'), 'utf8')
  const section = /## What is defended\n[\s\S]*?(?=\n## )/.exec(document)?.[0] ?? ''
  const rows = [...section.matchAll(/^\| ([^|]+?) +\|/gm)]
    .map(([, name]) => name ?? '')
    .filter((name) => name !== 'threat' && !name.startsWith('--'))
  const tried = globSync('*.test.ts', { cwd: import.meta.dirname })
    .map((file) => readFileSync(join(import.meta.dirname, file), 'utf8'))
    .flatMap((source) => [...source.matchAll(/^threat\((['"])(.*)\1,/gm)])
    .map(([, , name]) => name ?? '')
  t.ok(rows.length > 20, 'the rows are found')
  t.same(rows.toSorted(), tried.toSorted())
})
