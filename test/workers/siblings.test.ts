// Two workers in one process, each asked by itself: who asks whom, and what is said on the way.
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createServer, get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { startGateway, type Gateway } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { writeConfig } from '../e2e/lab/gateway.ts'
import { on, startUpstream, status } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 300_000 })
const contents = [
  ...[...image.manifests.keys()].map((digest) => `manifests/${digest}`),
  ...[...image.blobs.keys()].map((digest) => `blobs/${digest}`),
]

async function startOne(t: Test, file: string, number: number): Promise<Gateway> {
  mkdirSync(join(file, '../cache/tmp'), { recursive: true })
  const member = { number, sockets: ['tmp/one', 'tmp/two'] }
  const log = pino({ level: 'silent' })
  const worker = await startGateway(await loadConfig(file), { log, member })
  t.teardown(async () => worker.close(0))
  return worker
}

async function startTwo(t: Test, upstreamKeys: Record<string, unknown> = {}) {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const file = writeConfig(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    upstreams: { 'registry.test': { url: upstream.url, ...upstreamKeys } },
  })
  const workers: Gateway[] = []
  for (const number of [1, 2]) workers.push(await startOne(t, file, number))
  const ask = async (index: number, resource: string) => {
    const address = `http://127.0.0.1:${workers[index]?.port}/v2/app/${resource}?ns=registry.test`
    const response = await fetch(address)
    return { status: response.status, digest: digestOf(Buffer.from(await response.arrayBuffer())) }
  }
  return { upstream, workers, ask, socketPath: join(file, '../cache/tmp/one') }
}

t.test('what both are asked for at once is fetched once', async (t) => {
  const { upstream, ask } = await startTwo(t)
  for (const resource of contents) {
    const both = await Promise.all([ask(0, resource), ask(1, resource)])
    for (const answer of both) t.same(answer, { status: 200, digest: resource.split('/')[1] })
    t.equal(upstream.count(new RegExp(`^GET .*${resource}`)), 1, resource)
  }
})

t.test('a client that cannot be decoded is no failure of the gateway', async (t) => {
  const { socketPath } = await startTwo(t)
  const path = '/v2/app/manifests/latest?ns=registry.test'
  const asked = get({ socketPath, path, headers: { 'portcullis-client': '%zz' } })
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  t.equal(response.resume().statusCode, 400)
})

t.test('the owner is asked, which asks the upstream; then both have it', async (t) => {
  const { upstream, ask } = await startTwo(t)
  for (const resource of contents) t.equal((await ask(0, resource)).status, 200)
  const ways = upstream.requests.map(({ headers }) => String(headers.via).split(',').length)
  t.equal(ways.length, contents.length)
  t.same(new Set(ways), new Set([1, 2]), 'by itself, and by way of the owner')
  for (const resource of contents) t.equal((await ask(1, resource)).status, 200)
  t.equal(upstream.requests.length, contents.length)
})

t.test('what a tag means is as old for all as when the upstream said so', async (t) => {
  const { upstream, ask } = await startTwo(t, { tagTtl: '2s', staleIfError: '4s' })
  t.equal((await ask(0, 'manifests/latest')).status, 200)
  await setTimeout(1500)
  t.equal((await ask(1, 'manifests/latest')).status, 200)
  t.equal(upstream.count(/manifests\/latest/), 1, 'the other one knows it, too')
  upstream.fail(on(/latest/, status(503)))
  const end = performance.now() + 12_000
  let last = 200
  while (last === 200 && performance.now() < end) {
    await setTimeout(200)
    const answers = [await ask(0, 'manifests/latest'), await ask(1, 'manifests/latest')]
    last = Math.max(...answers.map(({ status: code }) => code))
  }
  t.not(last, 200, 'neither keeps it alive for the other')
})

t.test('where the owner is gone, the other one asks by itself', async (t) => {
  const { workers, ask } = await startTwo(t)
  await workers[0]?.close(0)
  for (const resource of contents) t.equal((await ask(1, resource)).status, 200)
})

t.test('the first one tells operators what all have to tell', async (t) => {
  const { workers, ask } = await startTwo(t)
  t.equal((await ask(1, 'manifests/latest')).status, 200)
  const told = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${workers[0]?.adminPort}${path}`)
    return response.text()
  }
  const { sessions } = JSON.parse(await told('/api/v1/sessions')) as {
    sessions: { how: string; connections: number }[]
  }
  t.match(sessions, [{ how: 'anonymous', connections: 2 }], 'its own, and that of the other one')
  t.match(await told('/metrics'), /^portcullis_requests_total\{kind="manifest".*\} 1$/m)
  t.same(JSON.parse(await told('/api/v1/refusals')), { refusals: [] })
})

t.test('one that hangs is asked once for all that the status page shows', async (t) => {
  const file = writeConfig(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
  })
  const { adminPort } = await startOne(t, file, 1)
  const asked: string[] = []
  const hanging = createServer((req) => asked.push(String(req.url)))
  hanging.listen(join(file, '../cache/tmp/two'))
  await once(hanging, 'listening')
  t.teardown(() => {
    hanging.close()
    hanging.closeAllConnections()
  })
  const begin = performance.now()
  const streams = await Promise.all(
    Array.from({ length: 3 }, async () => fetch(`http://127.0.0.1:${adminPort}/api/v1/events`)),
  )
  for (const { body } of streams) {
    const reader = body?.getReader()
    t.match(Buffer.from((await reader?.read())?.value ?? []).toString(), /^event: sessions$/m)
    await reader?.cancel()
  }
  t.ok(performance.now() - begin < 4000, 'it costs its two seconds once')
  t.same(
    asked.filter((url) => url.startsWith('/worker/told')),
    ['/worker/told'],
  )
})
