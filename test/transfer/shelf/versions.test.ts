import t from 'tap'
import { newestOf } from '../../../src/transfer/shelf/versions.ts'

const newest = (tags: string[], count = 3, withSuffix = false) =>
  newestOf(tags, { count, withSuffix })

t.test('by number, not by letter', async (t) => {
  const tags = ['v1.9.0', 'v1.10.0', 'v1.2.0', 'v1.10.1', 'v2.0.0']
  t.same(newest(tags), ['v2.0.0', 'v1.10.1', 'v1.10.0'])
  t.same(newest(tags, 1), ['v2.0.0'])
  t.same(newest(tags, 9).length, 5)
})

t.test('short versions, and what is none', async (t) => {
  t.same(newest(['latest', '3', '3.1', 'main', '3.1.4', '2024.01.02', 'v', '1.2.3.4', '']), [
    '2024.01.02',
    '3.1.4',
    '3.1',
  ])
})

t.test('pre-releases and variants only where they are meant', async (t) => {
  const tags = ['1.3.0-rc.1', '1.2.0', '1.3.0-rc.2', '1.1.0-alpine', '1.2.0-alpine']
  t.same(newest(tags), ['1.2.0'])
  t.same(newest(tags, 2, true), ['1.3.0-rc.2', '1.3.0-rc.1'])
  t.same(newest(['1.9-alpine', '1.10-alpine'], 1, true), ['1.10-alpine'])
})
