// The queue of the shared store: what is in its file is what waits.
import { appendFileSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openQueue, type Task } from '../../../src/cache/shared/queue.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { limitFiles } from '../../helpers/limits.ts'
import { optionsFor } from '../../requirements.ts'

const content = (text: string): Task => ({ do: 'content', digest: digestOf(text) })
const tag = (checkedAt: number): Task => ({
  do: 'tag',
  upstream: 'registry.test',
  repository: 'app',
  name: 'latest',
  digest: digestOf('a'),
  checkedAt,
})

function openAt(t: Test, most?: number) {
  const file = join(t.testdir(), 'shared-queue')
  const problems: unknown[] = []
  const open = () => openQueue(file, (error) => problems.push(error), most)
  return { file, problems, open }
}

t.test('what waits is there after a restart, in order, and what is done is not', async (t) => {
  const { file, open } = openAt(t)
  const queue = open()
  const [a, b, c] = [content('a'), content('b'), content('c')]
  for (const task of [a, b, c]) queue.add(task)
  queue.done(b)
  t.same([...open().waiting()], [a, c])
  appendFileSync(file, '["blobs/sha256/00/00","cut o')
  t.same([...open().waiting()], [a, c], 'a line that was cut off is none')
})

t.test('one object is written once, as it was known last', async (t) => {
  const queue = openAt(t).open()
  const [before, after] = [tag(1), tag(2)]
  queue.add(before)
  queue.add(content('a'))
  queue.add(after)
  t.same([...queue.waiting()], [content('a'), after])
  queue.done(before)
  t.equal(queue.size(), 2, 'what came in its place is not done with it')
})

t.test('a full queue takes nothing new', async (t) => {
  const queue = openAt(t, 2).open()
  t.ok(queue.add(content('a')))
  t.ok(queue.add(tag(1)))
  t.notOk(queue.add(content('b')))
  t.ok(queue.add(tag(2)), 'but news of what waits already')
  t.equal(queue.size(), 2)
})

t.test('the file does not grow without end', async (t) => {
  const { file, problems, open } = openAt(t)
  const queue = open()
  for (let count = 0; count < 12_000; count += 1) {
    const task = tag(count)
    queue.add(task)
    queue.done(task)
  }
  t.ok(readFileSync(file, 'utf8').split('\n').length < 12_000)
  t.equal(open().size(), 0)
  t.same(problems, [])
})

t.test('what a full disk took a part of is not lost', optionsFor('storing'), async (t) => {
  const { file, problems, open } = openAt(t)
  const queue = open()
  const [a, b, c] = [content('a'), content('b'), content('c')]
  queue.add(a)
  const endLimit = limitFiles(statSync(file).size + 20)
  queue.add(b)
  endLimit()
  t.match(problems, [{ code: 'EFBIG' }])
  queue.add(c)
  t.same([...open().waiting()], [a, b, c])
})
