// The journal on a disk that takes only a part of what is written.
import { readFileSync, statSync } from 'node:fs'
import t from 'tap'
import { prepareFolder } from '../../../src/cache/disk/folder.ts'
import { createJournal, readJournal, type Entry } from '../../../src/cache/index/journal.ts'
import { limitFiles } from '../../helpers/limits.ts'
import { optionsFor } from '../../requirements.ts'

t.test('what a full disk took a part of is written again', optionsFor('storing'), async (t) => {
  const { folder, presence } = prepareFolder(t.testdir())
  t.teardown(() => presence?.leave())
  const journal = createJournal(folder)
  const pin = (name: string): Entry => ['pin', 'registry.test', 'app', name, 'operator']
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
