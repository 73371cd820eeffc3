// What the client of a bucket does with stores that are slow, fail in between, or read S3 in their own way.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openS3Store } from '../../../src/upstream/s3/s3-store.ts'

const MiB = 2 ** 20
const { signal } = new AbortController()
t.setTimeout(120_000)

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<unknown>

/** A store that answers so, and its client. */
async function startStub(t: Test, answer: Answer, options?: Parameters<typeof openS3Store>[1]) {
  const server = createServer((request, response) => {
    // The client has left.
    answer(request, response).catch(() => response.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  process.env['AWS_ACCESS_KEY_ID'] = 'test-access'
  process.env['AWS_SECRET_ACCESS_KEY'] = 'test-secret-key'
  const { port } = server.address() as AddressInfo
  const config = {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    bucket: 'images',
    prefix: 'portcullis',
    pathStyle: true,
    credentials: { profile: 'default' },
    tls: { verify: true },
  }
  const store = await openS3Store(config, options)
  t.teardown(store.close)
  return store
}

function fileOf(t: Test, size: number) {
  const path = join(t.testdir(), 'file')
  const bytes = Buffer.alloc(size, 'x')
  writeFileSync(path, bytes)
  return { path, size, sha256: createHash('sha256').update(bytes).digest('base64') }
}

t.test('an upload that moves is not ended, one that stands still is', async (t) => {
  let isStill = false
  const store = await startStub(
    t,
    async (request, response) => {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        await wait(isStill ? 10_000 : chunk.length / 20_000, undefined, { ref: false })
      }
      response.end()
    },
    { idle: 1500 },
  )
  const file = fileOf(t, 60 * MiB)
  const began = performance.now()
  await store.putFile('slow', file, signal)
  t.ok(performance.now() - began > 2000, 'it took longer than a pause may')
  isStill = true
  await t.rejects(store.putFile('still', file, signal), { name: 'TimeoutError' })
})

t.test('an upload ends with whoever wanted it', async (t) => {
  const end = new AbortController()
  const store = await startStub(t, async () => end.abort())
  for (const size of [MiB, 70 * MiB]) {
    await t.rejects(store.putFile('a', fileOf(t, size), end.signal), { name: 'AbortError' })
  }
})

t.test('of a large upload only the part is sent again that failed', async (t) => {
  const parts: string[] = []
  const store = await startStub(t, async (request, response) => {
    const query = new URL(request.url ?? '', 'http://stub').searchParams
    await buffer(request)
    const part = query.get('partNumber')
    if (part !== null) parts.push(part)
    if (part === '3' && parts.filter((one) => one === '3').length === 1) response.statusCode = 503
    if (part !== null) return response.setHeader('etag', `"${part}"`).end()
    const name = query.has('uploads')
      ? 'InitiateMultipartUploadResult'
      : 'CompleteMultipartUploadResult'
    return response.end(`<${name}><UploadId>1</UploadId></${name}>`)
  })
  await store.putFile('a', fileOf(t, 70 * MiB), signal)
  t.same(parts.sort(), ['1', '2', '3', '3', '4', '5'])
})

t.test('a store that knows etags without quotes only', async (t) => {
  let count = 0
  const store = await startStub(t, async (request, response) => {
    await buffer(request)
    const [any, one] = [request.headers['if-none-match'], request.headers['if-match']]
    const isRight = any === '*' ? count === 0 : one === `etag-${count}`
    if (isRight) count += 1
    response.statusCode = isRight ? 200 : 412
    response.setHeader('etag', `"etag-${count}"`)
    response.end(isRight ? '' : '<Error><Code>PreconditionFailed</Code></Error>')
  })
  const swap = async (etag: string | undefined) => store.swap('a', Buffer.from('a'), etag, signal)
  const first = await swap(undefined)
  t.equal(await swap(undefined), undefined, 'something is there')
  t.equal(await swap(first), '"etag-2"')
  t.equal(await swap(first), undefined, 'it is another one')
})

t.test('a store that knows no conditions is written to without', async (t) => {
  const written: string[] = []
  const store = await startStub(t, async (request, response) => {
    const body = await buffer(request)
    const isKnown = !('if-none-match' in request.headers) && !('if-match' in request.headers)
    if (isKnown) written.push(`${request.url} ${body.length}`)
    response.statusCode = isKnown ? 200 : 501
    response.end(isKnown ? '' : '<Error><Code>NotImplemented</Code></Error>')
  })
  await store.putFile('file', fileOf(t, 1000), signal)
  t.ok(await store.put('small', Buffer.from('a'), { ifAbsent: true }))
  const at = '/images/portcullis/'
  t.same(written, [`${at}file?x-id=PutObject 1000`, `${at}small?x-id=PutObject 1`])
  const error = await store.swap('a', Buffer.from('a'), '"1"', signal).catch((cause) => cause)
  t.match(store.explain(error), { reason: 'not_implemented' })
})
