// docs/reference says what the code does.
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { statusOf } from '../src/errors.ts'
import { references } from './reference.ts'

for (const [file, render] of Object.entries(references)) {
  t.test(`${basename(file)} is up to date: \`node test/reference.ts\` writes it`, async (t) => {
    t.equal(readFileSync(file, 'utf8'), await render())
  })
}

t.test('errors.md has every code with its status, and no other', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../docs/reference/errors.md'), 'utf8')
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` +\| (\d{3}) /gm)].map(([, code, status]) => [
    code,
    Number(status),
  ])
  t.same(new Map(rows as [string, number][]), new Map(Object.entries(statusOf)))
})
