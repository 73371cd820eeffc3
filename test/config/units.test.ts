import t from 'tap'
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from '../../src/config/units.ts'

t.test('sizes', async (t) => {
  t.equal(parseSize('50GiB'), 50 * 2 ** 30)
  t.equal(parseSize('1.5 MB'), 1_500_000)
  t.equal(parseSize('0B'), 0)
  for (const text of ['', '5', '-1GiB', '5 gib', 'GiB', '1e3MiB', '5GiB ']) {
    t.equal(parseSize(text), undefined, text)
  }
  t.equal(formatSize(3 * 2 ** 20), '3MiB')
  t.equal(formatSize(1025), '1025B')
  t.equal(formatSize(0), '0B')
})

t.test('durations', async (t) => {
  t.equal(parseDuration('5m'), 300_000)
  t.equal(parseDuration('30d'), 2_592_000_000)
  t.equal(parseDuration('1.5s'), 1500)
  for (const text of ['5', '5M', '-5m', 'm', '5m30s']) t.equal(parseDuration(text), undefined, text)
  t.equal(formatDuration(90_000), '90s')
  t.equal(formatDuration(86_400_000), '1d')
  t.equal(formatDuration(0), '0ms')
})

t.test('rates', async (t) => {
  t.equal(parseRate('8MiB/s'), 8 * 2 ** 20)
  t.equal(parseRate('20Mbit/s'), 2_500_000)
  t.equal(parseRate('1.5 MB/s'), 1_500_000)
  for (const text of ['8MiB', '20Mbit', '20', '/s', '20Mbit/m', '20mbit/s']) {
    t.equal(parseRate(text), undefined, text)
  }
  t.equal(parseSize('8MiB/s'), undefined)
  t.equal(parseRate(formatRate(3 * 2 ** 20)), 3 * 2 ** 20)
})
