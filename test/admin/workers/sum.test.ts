import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import t from 'tap'
import { createSum, type Counted } from '../../../src/admin/workers/sum.ts'

function counting(requests: number, free: number): Registry {
  const registry = new Registry()
  const registers = [registry]
  new Counter({ name: 'requests_total', help: 'Requests.', registers }).inc(requests)
  new Gauge({ name: 'free_bytes', help: 'Free.', aggregator: 'first', registers }).set(free)
  new Gauge({ name: 'begun', help: 'Begun.', aggregator: 'omit', registers }).set(free)
  const seconds = new Histogram({ name: 'seconds', help: 'S.', buckets: [1], registers })
  for (let count = 0; count < requests; count += 1) seconds.observe(0.5)
  return registry
}

t.test('counters are summed over all, also those that are no more', async (t) => {
  const answers = new Map<number, Counted | undefined>()
  const other = async (pid: number, requests: number) => {
    const metrics = await counting(requests, 7).getMetricsAsJSON()
    answers.set(2, { pid, metrics: JSON.parse(JSON.stringify(metrics)) as typeof metrics })
  }
  const counted = createSum(counting(3, 5), async () => answers)
  const text = async () => (await counted()).metrics()

  await other(10, 4)
  t.match(await text(), /^requests_total 7$/m)
  t.match(await text(), /^free_bytes 5$/m)
  t.match(await text(), /^begun 5$/m)
  t.match(await text(), /^seconds_bucket\{le="\+Inf"\} 7$/m)
  t.match(await text(), /^seconds_count 7$/m)

  answers.set(2, undefined)
  t.match(await text(), /^requests_total 7$/m, 'one that does not answer counts as it was')
  await other(11, 1)
  t.match(await text(), /^requests_total 8$/m, 'what was counted before it died stays')
  t.match(await text(), /^seconds_count 8$/m)
  await other(12, 2)
  t.match(await text(), /^requests_total 10$/m)
  await other(12, 3)
  t.match(await text(), /^requests_total 11$/m)
})
