// The three pulls that every client makes: cold, warm, and warm while the upstream is away.
import type { Test } from 'tap'
import type { Lab } from './lab.ts'

/** Runs `pull`, by a client that holds nothing, three times; nginx's log proves where it came from. */
export async function pullThreeTimes(
  t: Test,
  { nginx }: Lab,
  pull: (t: Test) => Promise<void>,
): Promise<void> {
  await t.test('cold: everything comes through nginx, and each blob once', async (t) => {
    await pull(t)
    const requests = await nginx.requests()
    const blobs = requests.filter(({ method, target }) => method === 'GET' && /blobs/.test(target))
    t.not(blobs.length, 0, 'blobs were fetched')
    t.equal(new Set(blobs.map(({ target }) => target)).size, blobs.length, 'none of them twice')
    t.same(new Set(requests.map(({ client }) => client)), new Set(['CN=gateway']))
  })

  await t.test('warm: nginx is not asked', async (t) => {
    const before = await nginx.requests()
    await pull(t)
    t.same(await nginx.requests(), before)
  })

  await t.test('warm with nginx stopped', async (t) => {
    await nginx.stop()
    t.teardown(() => nginx.start())
    await pull(t)
  })
}
