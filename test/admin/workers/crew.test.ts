// What an operator is told of workers that are missing, or that end again and again.
import t from 'tap'
import { crewWarnings } from '../../../src/admin/workers/crew.ts'

const now = 1_800_000_000_000
const minutes = (count: number) => now - count * 60_000
const told = (...workers: [isServing: boolean, ...ends: number[]][]) =>
  crewWarnings(
    { workers: workers.map(([isServing, ...ends]) => ({ isServing, ends })), ends: 0 },
    now,
  )

t.test('nothing while all serve, also after one was replaced', async (t) => {
  t.same(told([true], [true]), [])
  t.same(told([true], [true, minutes(1)]), [])
  t.same(told([true, minutes(30), minutes(20)]), [], 'long ago')
})

t.test('one that is missing, and how that is', async (t) => {
  t.same(told([true], [false]), ['worker 2 of 2 does not serve yet'])
  t.same(told([false, minutes(0)], [true]), [
    'worker 1 of 2 has ended, and another one takes its place: the log says why',
  ])
  t.same(told([true], [false, minutes(9), minutes(1), minutes(0)]), [
    'worker 2 of 2 ends again and again (3 times within 10 minutes), and is not there: the log says why',
  ])
})

t.test('one that serves just now, and will not for long', async (t) => {
  t.same(told([true], [true, minutes(8), minutes(1)]), [
    'worker 2 of 2 ends again and again (2 times within 10 minutes): the log says why',
  ])
})
