// Requests to upstreams, shared among clients.
import t from 'tap'
import { GatewayError } from '../../src/errors.ts'
import type { Receiver } from '../../src/oci/origin.ts'
import { createFairQueue } from '../../src/upstream/fair-queue.ts'

/** A queue in front of an upstream that answers when it is told to. */
function rig(places = 8, each = 1000) {
  const running: { client: string | undefined; resource: string; receiver: Receiver }[] = []
  const refusals: string[] = []
  const failures: GatewayError[] = []
  const aborted: string[] = []
  const open = createFairQueue({
    limits: () => ({ upstreamRequests: places, upstreamRequestsPerIdentity: each }),
    onRefusal: (reason) => void refusals.push(reason),
    openUpstream({ client, resource }, receiver) {
      running.push({ client, resource, receiver })
      return { pause() {}, resume() {}, abort: () => void aborted.push(resource) }
    },
  })
  const ask = (client: string | undefined, resource = '', upstream = 'registry.test') =>
    open(
      { client, resource, upstream, method: 'GET', repository: 'app' },
      {
        start: () => undefined,
        data: () => undefined,
        end: () => undefined,
        fail: (error) => void failures.push(error),
      },
    )
  /** Ends the oldest of those under way. */
  const finish = () => running.shift()?.receiver.end()
  const clients = () => running.map(({ client }) => client)
  return { ask, running, finish, clients, refusals, failures, aborted }
}

t.test('a client has no more than is free, so that another finds a place', async (t) => {
  const { ask, clients, finish } = rig()
  for (let count = 0; count < 100; count += 1) ask('greedy')
  t.equal(clients().length, 4)
  ask('other')
  t.equal(clients().at(-1), 'other')
  finish()
  t.equal(clients().filter((client) => client === 'greedy').length, 4, 'not 5, with 3 free')
})

t.test('those that wait have their turns', async (t) => {
  const { ask, clients, finish } = rig(2)
  for (let count = 0; count < 10; count += 1) ask('greedy')
  ask('b')
  for (const client of ['c', 'd', 'c']) ask(client)
  t.same(clients(), ['greedy', 'b'])
  const order: unknown[] = []
  for (let count = 0; count < 4; count += 1) {
    finish()
    order.push(clients().at(-1))
  }
  t.match(new Set(order.slice(0, 3)), new Set(['c', 'd', 'greedy']))
})

t.test('all of it is done in the end, by failure and by abort too', async (t) => {
  const { ask, running, finish, aborted } = rig(4)
  for (const client of ['a', 'b', 'c', undefined]) {
    for (let count = 0; count < 25; count += 1) ask(client)
  }
  const waiting = ask('a', 'never begun')
  waiting.abort()
  waiting.abort()
  const begun = ask('z', 'begun')
  let done = 0
  while (running.length > 0) {
    if (running.some(({ resource }) => resource === 'begun')) begun.abort()
    t.ok(running.length <= 5)
    const [first] = running
    if (done % 2 === 0) finish()
    else {
      running.shift()
      first?.receiver.fail(new GatewayError('UPSTREAM_FAILED', 'away'))
    }
    done += 1
  }
  t.equal(done, 101)
  t.ok(aborted.every((resource) => resource === 'begun'))
})

t.test('too many of one client are refused at once, and those of nobody never', async (t) => {
  const { ask, failures, refusals, clients, finish } = rig(8, 5)
  for (let count = 0; count < 7; count += 1) ask('greedy')
  await Promise.resolve()
  t.match(failures, [
    { code: 'TOOMANYREQUESTS', headers: { 'retry-after': '5' } },
    { code: 'TOOMANYREQUESTS' },
  ])
  t.same(refusals, ['too_many_upstream_requests', 'too_many_upstream_requests'])
  while (clients().length > 0) finish()
  ask('greedy')
  t.equal(clients().length, 1, 'there is room again')
  for (let count = 0; count < 20; count += 1) ask(undefined)
  t.equal(failures.length, 2)
})

t.test('one that is refused and aborted hears nothing', async (t) => {
  const { ask, failures, refusals } = rig(8, 1)
  ask('greedy')
  ask('greedy').abort()
  await Promise.resolve()
  t.equal(refusals.length, 1)
  t.same(failures, [])
})

t.test('upstreams have places of their own', async (t) => {
  const { ask, clients } = rig(2)
  for (let count = 0; count < 5; count += 1) ask('a')
  ask('a', '', 'other.test')
  t.equal(clients().length, 2)
})
