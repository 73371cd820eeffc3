import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openStore } from '../../../src/cache/store.ts'
import { trimQuarantine } from '../../../src/cache/verification/quarantine.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { until } from '../../helpers/cache.ts'

const day = 86_400_000
const now = 1_800_000_000_000
const hex = 'ab'.repeat(32)

function filled(t: Test) {
  const folder = t.testdir()
  const put = (name: string, bytes: number) =>
    writeFileSync(join(folder, name), Buffer.alloc(bytes))
  const older = `sha256-${hex}-${now - 20 * day}`
  const newer = `sha256-${hex}-${now - day}`
  const index = `index-${now - 10 * day}.db`
  put(older, 100)
  put(newer, 100)
  put(index, 100)
  put(`sha512-${hex}-${now - 40 * day}`, 1)
  mkdirSync(join(folder, `sha256-${hex}-${now - 50 * day}`, 'folder'), { recursive: true })
  put('notes.txt', 1000)
  return { folder, older, newer, index }
}

t.test('what is too old goes, and nothing that we did not put there', async (t) => {
  const { folder, older, newer, index } = filled(t)
  await trimQuarantine(folder, { bytes: 1e9, age: 30 * day }, now)
  t.same(readdirSync(folder).sort(), [index, 'notes.txt', older, newer].sort())
})

t.test('the oldest goes where it is too much', async (t) => {
  const { folder, newer, index } = filled(t)
  await trimQuarantine(folder, { bytes: 250, age: 30 * day }, now)
  t.same(readdirSync(folder).sort(), [index, 'notes.txt', newer].sort())
})

t.test('a store keeps its own quarantine in bounds', async (t) => {
  const dir = t.testdir()
  const old = `sha256-${hex}-1600000000000`
  openStore(dir).close()
  const put = () => writeFileSync(join(dir, 'quarantine', old), '')
  put()
  const store = openStore(dir)
  await until(() => readdirSync(join(dir, 'quarantine')).length === 0)
  put()
  const digest = digestOf('content')
  const writer = await store.create(digest)
  await writer.append(Buffer.from('content'))
  await writer.commit()
  await store.quarantine(digest)
  t.match(readdirSync(join(dir, 'quarantine')), [/^sha256-[0-9a-f]{64}-\d{13}$/])
})
