// The stream of events: nobody who does not read it costs more than a bound.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import { createEventStream } from '../../../src/admin/api/event-stream.ts'
import { recordingLog } from '../../helpers/listener.ts'

t.test('a client that does not read is let go, and others are not', async (t) => {
  let looks = 0
  const long = 'x'.repeat(900 * 1024)
  const { log, lines } = recordingLog()
  const stream = createEventStream({
    topics: {
      long: () => `${(looks += 1)} ${long}`,
      broken: () => Promise.reject(new Error('it cannot be told')),
    },
    inForce: () => undefined,
    log,
  })
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
  const reading = (await client()).resume()
  await once(reading, 'data')
  const idle = await client()
  idle.pause()
  while (opened.length < 2) await new Promise((done) => setTimeout(done, 5))
  const [first, second] = opened
  if (second === undefined) throw new Error('there is none')
  await once(second, 'close')
  t.notOk(first?.destroyed)
  t.equal(lines.filter(({ topic }) => topic === 'broken').length, 1, 'a failure is told once')
})
