// Several workers are one gateway: one fetch, one log, sums of metrics, and one that dies costs nothing.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { runCommand } from '../helpers/command.ts'
import { on } from '../helpers/upstream.ts'
import { blobPath, download, isAlive, slowly, startWorkers, until, upstreamName } from './site.ts'

const limit = { timeout: 120_000 }
const image = await buildSampleImage({ layerBytes: 3_000_000 })
const [layer = '', another = ''] = [...image.blobs]
  .toSorted(([, a], [, b]) => b.length - a.length)
  .map(([digest]) => digest)

t.test('one GET for a cold blob, however many ask and of whom', limit, async (t) => {
  const { gateway, upstream, metrics, pids } = await startWorkers(t, {
    image,
    faults: [on(/^GET .*blobs/, slowly(5))],
  })
  t.equal(pids().length, 2)
  const all = await Promise.all(
    Array.from({ length: 20 }, () => download(gateway.port, blobPath(layer))),
  )
  for (const one of all) t.same(one, { digest: layer, tries: 1 })
  t.equal(upstream.count(/^GET .*blobs/), 1)

  const told = () => gateway.log().filter(({ msg }) => msg === 'request')
  await until('all requests are told', () => told().length === 20)
  t.equal(new Set(told().map(({ pid }) => pid)).size, 2, 'both have served')
  const text = await metrics()
  const counted = [...text.matchAll(/^portcullis_requests_total\{.*kind="blob".*\} (\d+)$/gm)]
  t.equal(
    counted.reduce((sum, [, value]) => sum + Number(value), 0),
    20,
    'metrics are sums',
  )
  t.match(text, /^portcullis_request_duration_seconds_count\{kind="blob"\} 20$/m)
  t.match(text, /^portcullis_cache_entries 1$/m, 'what is one thing is no sum')
  t.match(text, new RegExp(`received_bytes_total\\{upstream="${upstreamName}"\\} 3\\d{6}$`, 'm'))

  const left = pids()
  process.kill(gateway.program.pid, 'SIGKILL')
  await until('nobody is left where the supervisor is gone', () => !left.some(isAlive))
})

t.test('one that is killed while it fetches is replaced, and no pull fails', limit, async (t) => {
  const { gateway, upstream, pids, metrics } = await startWorkers(t, {
    image,
    faults: [on(/^GET .*blobs/, slowly(40))],
  })
  const [first = 0, second = 0] = pids()
  for (const [victim, blob] of [
    [second, layer],
    [first, another],
  ] as const) {
    const isAsked = new RegExp(`^GET .*${blob}`)
    const all = Array.from({ length: 12 }, async () => download(gateway.port, blobPath(blob)))
    await until('it is being fetched', () => upstream.count(isAsked) > 0)
    await setTimeout(300)
    process.kill(victim, 'SIGKILL')
    for (const { digest } of await Promise.all(all)) t.equal(digest, blob)
    await until('it is replaced', () => pids().length === 2 && !pids().includes(victim))
    t.ok(upstream.count(isAsked) <= 2, 'what was there is not fetched again by all')
    const left = readdirSync(join(gateway.folder, 'cache/tmp'))
    t.notOk(
      left.some((name) => name.startsWith(`${victim}-`)),
      'nothing is left of it',
    )
  }
  t.match(await metrics(), /^portcullis_cache_entries 2$/m, 'the next first one answers operators')
})

t.test(
  'where none can take the place of another, the rest serve; without any it ends',
  limit,
  async (t) => {
    const { gateway, file, pids } = await startWorkers(t, { image })
    writeFileSync(file, 'nonsense: true')
    const [first = 0, second = 0] = pids()
    process.kill(second, 'SIGKILL')
    await until('it is missed', () => pids().length === 1)
    t.equal((await download(gateway.port, blobPath(layer))).digest, layer)
    process.kill(first, 'SIGKILL')
    t.equal(await gateway.program.ended, 1)
    t.match(gateway.program.output(), /ends again and again: so does the gateway/)
    t.match(gateway.program.output(), /nonsense: is no known key/, 'the reason is told')
  },
)

t.test('one that is missing is told, and the others are ready', limit, async (t) => {
  const { file, pids, adminPort, metrics } = await startWorkers(t, { image })
  const readiness = async () => {
    const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`)
    t.equal(response.status, 200)
    return response.text()
  }
  const doctor = () => runCommand(['doctor', '--config', file])
  t.match((await doctor()).stdout, /^the gateway on this machine: ready\n$/m)
  for (const [count, warning] of [
    /worker 2 of 2 has ended, and/,
    /2 ends again and again/,
  ].entries()) {
    t.notMatch(await readiness(), warning)
    const victim = Number(pids()[1])
    process.kill(victim, 'SIGKILL')
    await until('it is told', async () => warning.test(await readiness()))
    await until('it serves', async () => /^portcullis_workers_serving 2$/m.test(await metrics()))
    await until('it is replaced', () => pids().length === 2 && !pids().includes(victim))
    t.match(await metrics(), new RegExp(`^portcullis_worker_ends_total ${count + 1}$`, 'm'))
  }
  t.match(await metrics(), /^portcullis_workers_configured 2$/m)
  t.match((await doctor()).stdout, /: ready\nwarning: worker 2 of 2 ends again and again \(2 times/)
})

t.test('a reload reaches all, and so does the end', limit, async (t) => {
  const { gateway, file, pids, adminPort } = await startWorkers(t, { image })
  const reloaded = () =>
    new Set(
      gateway
        .log()
        .filter(({ msg, part }) => msg === 'reloaded' && part === 'config')
        .map(({ pid }) => pid),
    )
  writeFileSync(file, `${readFileSync(file, 'utf8')}defaultUpstream: ${upstreamName}\n`)
  await until('the change is seen', () => reloaded().size === 2)
  process.kill(gateway.program.pid, 'SIGHUP')
  const asked = await fetch(`http://127.0.0.1:${adminPort}/api/v1/reload`, { method: 'POST' })
  t.same(await asked.json(), { reloaded: true })

  const all = pids()
  t.equal(await gateway.program.stop(), 0)
  for (const pid of all) t.notOk(isAlive(pid), `${pid} has ended`)
  const left = readdirSync(join(gateway.folder, 'cache/tmp'))
  t.same(left, [], 'no socket is left')
})
