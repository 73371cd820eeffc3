// The stream of events: nobody who does not read it costs more than a bound, and nobody reads on who may not.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { createEventStream, type EventStreamOptions } from '../../../src/admin/api/event-stream.ts'
import { until } from '../../helpers/cache.ts'
import { recordingLog } from '../../helpers/listener.ts'

async function serve(t: Test, options: Pick<EventStreamOptions, 'topics' | 'inForce'>) {
  const { log, lines } = recordingLog()
  const stream = createEventStream({ ...options, log })
  const app = Fastify()
  t.teardown(async () => {
    stream.close()
    await app.close()
  })
  const opened: ServerResponse[] = []
  app.get('/events', async (_request, reply) => {
    opened.push(reply.raw)
    await stream.open(reply)
  })
  const address = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const client = async () => {
    const socket = connect(Number(address.port), address.hostname)
    await once(socket, 'connect')
    t.teardown(() => socket.destroy())
    socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    return socket
  }
  return { client, opened, lines }
}

t.test('a client that does not read is let go, and others are not', async (t) => {
  let looks = 0
  const long = 'x'.repeat(900 * 1024)
  const { client, opened, lines } = await serve(t, {
    topics: {
      long: () => `${(looks += 1)} ${long}`,
      broken: () => Promise.reject(new Error('it cannot be told')),
    },
    inForce: () => undefined,
  })
  const reading = (await client()).resume()
  await once(reading, 'data')
  const idle = await client()
  idle.pause()
  await until(() => opened.length === 2)
  const [first, second] = opened
  if (second === undefined) throw new Error('there is none')
  await once(second, 'close')
  t.notOk(first?.destroyed)
  t.equal(lines.filter(({ topic }) => topic === 'broken').length, 1, 'a failure is told once')
})

t.test('who was let in by what is not in force any more is not told more', async (t) => {
  let inForce = 'first'
  const known = Promise.withResolvers<string>()
  const topics = { slow: () => known.promise }
  const { client, opened } = await serve(t, { topics, inForce: () => inForce })
  await client()
  await until(() => opened.length === 1)
  inForce = 'second'
  await client()
  await until(() => opened.length === 2)
  known.resolve('all there is')
  const [before, after] = opened
  await until(() => before?.writableEnded === true)
  t.equal(after?.headersSent, true)
  t.notOk(after?.writableEnded, 'whoever asked since is told')
})

t.test('no more than 50 at once, however they come', async (t) => {
  const known = Promise.withResolvers<string>()
  const { client, opened } = await serve(t, {
    topics: { slow: () => known.promise },
    inForce: () => undefined,
  })
  const clients = await Promise.all(Array.from({ length: 60 }, client))
  await until(() => opened.length === clients.length)
  known.resolve('all there is')
  await until(() => opened.every(({ headersSent }) => headersSent))
  t.equal(opened.filter(({ statusCode }) => statusCode === 503).length, 10)
})

t.test('all topics are asked at the same time, and once for all who listen', async (t) => {
  const asked: string[] = []
  const both = Promise.withResolvers<string>()
  const topic = (name: string) => async () => {
    asked.push(name)
    if (asked.length === 2) both.resolve('both')
    return both.promise
  }
  const { client, opened } = await serve(t, {
    topics: { one: topic('one'), other: topic('other') },
    inForce: () => undefined,
  })
  await client()
  await until(() => opened.length === 1 && opened[0]?.headersSent === true)
  await Promise.all(Array.from({ length: 5 }, client))
  await until(() => opened.length === 6 && opened.every(({ headersSent }) => headersSent))
  t.same(asked, ['one', 'other'])
})
