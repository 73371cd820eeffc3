// How much comes from an upstream, and what is fetched ahead: what may be written.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { effectiveConfig, loadConfig } from '../../../src/config/load.ts'
import { isWithinHours, parseHours } from '../../../src/config/units.ts'
import { problemsOf } from '../../helpers/problems.ts'

async function load(t: Test, keys: string) {
  const yaml = `listen: { insecureHttp: true }\nupstreams: { up.test: { ${keys} } }\n`
  return loadConfig(join(t.testdir({ 'gateway.yaml': yaml }), 'gateway.yaml'))
}

t.test('a rate, or rates by hours, in bytes a second', async (t) => {
  const plain = await load(t, 'maxRate: 20Mbit/s, prefetch: platform')
  t.match(plain.upstreams['up.test'], { maxRate: 2_500_000, prefetch: 'platform' })
  t.match(effectiveConfig(plain), /maxRate: 20Mbit\/s/)

  const byHours = await load(t, "maxRate: { '08-18': 5Mbit/s, '22:30-6': 2MiB/s }")
  t.same(byHours.upstreams['up.test']?.maxRate, { '08-18': 625_000, '22:30-6': 2 ** 21 })
  t.match(effectiveConfig(byHours), /08-18: 5Mbit\/s\n\s+22:30-6: 2MiB\/s/)
  t.match((await load(t, '')).upstreams['up.test'], { prefetch: 'none' })
})

t.test('what cannot be is told with its place', async (t) => {
  const told = async (keys: string) =>
    (await problemsOf(load(t, keys))).map(({ path, message }) => `${path}: ${message}`)
  for (const rate of ['5', '0Mbit/s', '20Mbit', '"-1MB/s"', 'fast']) {
    const problems = await told(`maxRate: ${rate}`)
    t.match(problems, [/^upstreams\.up\.test\.maxRate\b.*a rate above zero such as 8MiB\/s/])
    t.equal(problems.length, 1)
  }
  t.match(await told("maxRate: { '08-18': 0B/s }"), [/^upstreams\.up\.test\.maxRate\.08-18: /])
  for (const hours of ['8', '08-25', '24-06', '08-18:60', 'mon', '8..18']) {
    t.match(await told(`maxRate: { '${hours}': 1MB/s }`), [
      /the name must be hours of the day such as 08-18/,
    ])
  }
  t.match(await told("maxRate: { '08-08': 1MB/s }"), [/maxRate\.08-08: is no time at all/])
  t.match(await told('prefetch: some'), [/prefetch: must be one of none, platform, all/])
})

t.test('hours', async (t) => {
  const night = parseHours('22:30-06')
  t.same(night, { from: 22 * 60 + 30, to: 6 * 60 })
  t.same(parseHours('0-24'), { from: 0, to: 24 * 60 })
  t.same(['6-6', '24-3', '3', '3-25', ''].map(parseHours), Array(5).fill(undefined))
  const within = (minute: number) => night !== undefined && isWithinHours(night, minute)
  t.same([22 * 60 + 29, 22 * 60 + 30, 0, 359, 360].map(within), [false, true, true, true, false])
})
