// The journal where not all can be written: on a disk that takes a part of it, by a worker that waits for another.
import { existsSync, readFileSync, statSync } from 'node:fs'
import t, { type Test } from 'tap'
import { prepareFolder } from '../../../src/cache/disk/folder.ts'
import { createJournal, readJournal, type Entry } from '../../../src/cache/index/journal/journal.ts'
import { limitFiles } from '../../helpers/limits.ts'
import { optionsFor } from '../../requirements.ts'

const many = 100_001
const pin = (name: string): Entry => ['pin', 'registry.test', 'app', name, 'operator']
const tag = (name: string, digest: string): Entry => [
  'tag',
  'registry.test',
  'app',
  name,
  digest,
  many,
]

function prepare(t: Test) {
  const { folder, presence } = prepareFolder(t.testdir())
  t.teardown(() => presence?.leave())
  return folder
}

t.test('what a full disk took a part of is written again', optionsFor('storing'), async (t) => {
  const folder = prepare(t)
  const journal = createJournal(folder)
  const read = () => [...readJournal(folder.journal)]

  journal.add(pin('before'))
  await journal.flush()
  const endLimit = limitFiles(statSync(folder.journal).size + 20)
  journal.add(pin('first'))
  journal.add(pin('second'))
  await t.rejects(journal.flush(), { code: 'EFBIG' })
  endLimit()
  t.match(readFileSync(folder.journal, 'utf8'), /\["[^\n\]]*$/, 'half a line is there')

  journal.add(pin('third'))
  await journal.flush()
  t.same(read(), ['before', 'first', 'second', 'third'].map(pin))
})

t.test('however much waits for who writes it, nothing of it is lost', async (t) => {
  const folder = prepare(t)
  const snapshot = () => [[pin('known')]]
  const journals = [
    createJournal(folder, snapshot, false),
    // While the index is in memory nobody knows all of it.
    createJournal(folder),
  ]
  await createJournal(folder, snapshot).flush()
  for (const [number, journal] of journals.entries()) {
    const names = new Set<unknown>()
    journal.add(['unpin', ...pin(`0-${number}`).slice(1)] as unknown as Entry)
    for (let index = 0; index < many; index += 1) {
      journal.add(pin(`${index}-${number}`))
      journal.add(tag('latest', `sha256:${index}`))
    }
    await journal.flush()
    const written = [...readJournal(folder.journal)]
    for (const [kind, , , name] of written) if (kind === 'pin') names.add(name)
    t.equal(names.size, many + number * many + 1)
    t.same(written.findLast(([kind]) => kind === 'tag')?.[4], `sha256:${many - 1}`)
    t.ok(written.length < (number + 1) * 1.5 * many, 'what others make needless is not kept')
  }
})

t.test('what comes while the journal is written anew is in it, however much', async (t) => {
  const folder = prepare(t)
  let pieces = 0
  function* snapshot(): Iterable<Entry[]> {
    yield Array.from({ length: pieces }, (_, index) => pin(`${index}`))
    if (pieces > 0) return
    for (pieces = 0; pieces < many; pieces += 1) journal.add(pin(`${pieces}`))
  }
  const journal = createJournal(folder, snapshot)
  journal.add(pin('0'))
  await journal.flush()
  await journal.flush()
  t.equal(new Set([...readJournal(folder.journal)].map(([, , , name]) => name)).size, many)
})

t.test('at the end the keeper asks the index for what did not fit', async (t) => {
  const folder = prepare(t)
  const known = [pin('one'), pin('two')]
  const journal = createJournal(folder, () => [known])
  await createJournal(folder, () => [[pin('one')]]).flush()
  journal.add(pin('two'))
  for (let index = 0; index < many; index += 1) journal.add(pin('one'))
  journal.flushNow()
  t.same([...readJournal(folder.journal)], known)
})

t.test('only its keeper makes a journal, at the end too', async (t) => {
  const folder = prepare(t)
  const snapshot = () => [[pin('one')]]
  const other = createJournal(folder, snapshot, false)
  other.add(pin('one'))
  other.flushNow()
  t.notOk(existsSync(folder.journal), 'its keeper may be about to put its own there')
  createJournal(folder, snapshot).flushNow()
  other.add(pin('two'))
  other.flushNow()
  t.same([...readJournal(folder.journal)], [pin('one'), pin('two')])
})
