// The young generation of a process of its own, as V8 tells of it.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'

const source = JSON.stringify(join(import.meta.dirname, '../../src/listener/young-generation.ts'))

/** MiB of both halves at each `tell()` of the script. */
function sizes(script: string): number[] {
  const program = `
    import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
    import { setTimeout as delay } from 'node:timers/promises'
    import { growYoungGeneration } from ${source}
    setFlagsFromString('--semi-space-growth-factor=1')
    const young = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')
    const tell = () => console.log(young().space_size / 2 ** 20)
    const ask = (request, times) => { for (let n = 0; n < times; n += 1) request() }
    ${script}
  `
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', program],
    { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
  )
  if (status !== 0) throw new Error(stderr)
  return stdout.trim().split('\n').map(Number)
}

t.test('it holds what all connections allocate in a turn, within a limit', async (t) => {
  const found = sizes(`
    for (const connections of [20, 200, 500, 5000]) {
      ask(growYoungGeneration(() => connections), 1024)
      tell()
    }
  `)
  const [few = 0, ...more] = found
  t.ok(few <= 4, 'nothing for few')
  t.strictSame(more, [8, 16, 16])
})

t.test('not where requests are few, however many the connections are', async (t) => {
  const [slow = 0, fewer = 0, busy = 0] = sizes(`
    const request = growYoungGeneration(() => 500)
    ask(request, 1000)
    await delay(1100)
    ask(request, 24)
    tell()
    ask(request, 1023)
    tell()
    ask(request, 1)
    tell()
  `)
  t.ok(slow <= 4)
  t.equal(fewer, slow)
  t.equal(busy, 16)
})

t.test('it is given back where the requests or the connections have become few', async (t) => {
  const [busy, kept, idle = 0, again, fewer = 0] = sizes(`
    let connections = 500
    const request = growYoungGeneration(() => connections, 100)
    ask(request, 1024)
    tell()
    ask(request, 1024)
    await delay(150)
    tell()
    await delay(100)
    tell()
    ask(request, 1024)
    tell()
    connections = 20
    ask(request, 1024)
    await delay(150)
    tell()
  `)
  t.strictSame([busy, kept, again], [16, 16, 16])
  t.ok(idle <= 4 && fewer <= 4)
})
