// Every comparison with the peers, one after the other, in one table: `npm run bench [name ...]`. With
// `--quick` only the table of those that would be used instead, in about five minutes.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { formatRows, type Row } from './lab/report.ts'

const all = [
  'large-blob',
  'manifest',
  'small-blob',
  'image',
  'miss',
  'shared-miss',
  'handshake',
  'first-byte',
  'memory',
]

if (process.argv.includes('--quick')) {
  const peers = fork(join(import.meta.dirname, 'peers/main.ts'), process.argv.slice(2))
  const [code] = (await once(peers, 'exit')) as [number | null]
  process.exit(code ?? 1)
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : all
const unknown = wanted.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  process.stderr.write(`no such benchmark: ${unknown.join(', ')}; there are ${all.join(', ')}\n`)
  process.exit(2)
}

const rows: Row[] = []
for (const name of wanted) {
  process.stderr.write(`${name} ...\n`)
  const child = fork(join(import.meta.dirname, `${name}.ts`))
  child.once('message', (told: Row[]) => rows.push(...told))
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) process.exitCode = 1
}
process.stdout.write(formatRows(rows))
