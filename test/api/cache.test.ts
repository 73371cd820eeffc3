// admin.yaml says what /api/v1 answers; and what it does.
import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createMetrics } from '../../src/admin/metrics.ts'
import { createAdmin } from '../../src/admin/server.ts'
import type { AdminAction } from '../../src/admin/guard.ts'
import { drain } from '../../src/listener/drain.ts'
import { listen } from '../../src/listener/server.ts'
import { hexOf, type Digest } from '../../src/oci/digest.ts'
import { parseReference } from '../../src/transfer/image-name.ts'
import { readDocument } from '../helpers/api-document.ts'
import { app, startSite, until } from '../helpers/cache.ts'
import { checkContract, fetchAnswer, type Case } from '../helpers/contract.ts'
import { addImage, emptyContent, layerOf, pull } from '../helpers/images.ts'
import { defaultLimits, noTls, recordingLog } from '../helpers/listener.ts'
import { on, stallAfter } from '../helpers/upstream.ts'

/** An admin listener over a cache with the images `app:one` to `app:three`, which share a layer. */
async function start(t: Test) {
  const image = emptyContent()
  const shared = layerOf('shared', 400_000)
  const slow = layerOf('slow', 2_000_000)
  const names = ['one', 'two', 'three']
  for (const name of names) addImage(image, name, [shared, layerOf(name, 300_000)])
  const waiting = addImage(image, 'waiting', [slow])
  const site = await startSite(t, { image })
  for (const name of names) await pull(site.cache, app, name)
  await until(() => site.cache.inventory.holding().entries === 10)

  const { log, lines } = recordingLog()
  const may = new Set<AdminAction>(['admin:read', 'admin:write'])
  const audited: Readonly<Record<string, unknown>>[] = []
  const naming = { upstreams: ['registry.test'], defaultUpstream: 'registry.test' }
  const config = { host: '127.0.0.1', port: 0, names: [], tls: noTls }
  const shelf = [
    { entry: 'up/*:1', image: 'up/*:1', missingSince: 0, problem: 'has no catalog' },
    {
      entry: 'app:one',
      image: 'app:one',
      digest: `sha256:${'0'.repeat(64)}`,
      checkedAt: 86_400_000,
    },
  ]
  const admin = createAdmin({
    config,
    metrics: createMetrics(),
    readiness: async () => ({ ok: true, problems: [], warnings: [] }),
    limits: () => defaultLimits,
    gatewayUrls: () => [],
    log,
    api: {
      cache: site.cache,
      shelf: () => shelf,
      parseImage: (text) => parseReference(text, naming),
    },
    mayAdminister: (_caller, action) => may.has(action),
    audit: (facts) => void audited.push(facts),
  })
  await admin.ready()
  const port = await listen(admin.server, config.host, 0, 'admin')
  t.teardown(async () => {
    await drain(admin.server, 0)
    await admin.close()
  })
  const ask = async (path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const url = `http://127.0.0.1:${port}/api/v1${path}`
    if (body === undefined) return fetchAnswer(url)
    return fetchAnswer(url, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
  }
  const json = async <Answer>(path: string, body?: unknown) => {
    const answer = await ask(path, body)
    if (answer.status >= 400) throw new Error(answer.body.toString())
    return JSON.parse(answer.body.toString()) as Answer
  }
  return { ...site, ask, json, may, audited, lines, port, waiting }
}

interface Images {
  images: { name: string; size: number; ownSize: number }[]
  next?: string
}

t.test('every documented response', async (t) => {
  const { ask, may } = await start(t)
  const document = readDocument('admin.yaml')
  // What is not of the cache has a test of its own.
  const own = /^\/api\/v1\/(?:images|blobs|downloads|shelf|prune|pin|evict|verify)$/
  const operations = document.operations.filter(({ path }) => own.test(path))
  const bodies: Record<string, unknown> = {
    prune: { olderThan: '1h' },
    pin: { image: 'app:one' },
    evict: { image: 'app:three' },
    verify: {},
  }
  const wrong: Record<string, unknown> = {
    prune: { olderThan: 'soon' },
    pin: { image: 'APP' },
    evict: {},
    verify: { rate: 5 },
  }
  const refused = async (send: () => ReturnType<typeof ask>) => {
    may.clear()
    return send().finally(() => may.add('admin:read').add('admin:write'))
  }
  const cases = operations.flatMap(({ id, path, method, responses }): Case[] => {
    const at = path.slice('/api/v1'.length)
    const right = async () => ask(at, method === 'GET' ? undefined : bodies[id])
    const bad = async () => (method === 'GET' ? ask(`${at}?limit=0`) : ask(at, wrong[id]))
    return [
      { operation: id, status: id === 'verify' ? 202 : 200, send: right },
      { operation: id, status: 403, send: async () => refused(right) },
      { operation: id, status: 404, send: async () => ask(`${at}/no`) },
      ...('400' in responses ? [{ operation: id, status: 400, send: bad }] : []),
    ]
  })
  await checkContract(t, { ...document, operations }, [
    ...cases,
    { operation: 'evict', status: 404, send: async () => ask('/evict', { image: 'app:none' }) },
    { operation: 'evict', status: 409, send: async () => ask('/evict', { image: 'app:one' }) },
  ])
})

t.test('images and blobs, page by page', async (t) => {
  const { ask, json } = await start(t)
  const all = await json<Images>('/images')
  t.match(
    all.images.map(({ name }) => name),
    ['registry.test/app:one', 'registry.test/app:three', 'registry.test/app:two'],
  )
  t.equal(all.next, undefined)
  for (const { size, ownSize } of all.images) t.equal(size - ownSize, 400_000)
  const paged: string[] = []
  for (let query = '?limit=1'; ;) {
    const { images, next } = await json<Images>(`/images${query}`)
    t.ok(images.length <= 1)
    paged.push(...images.map(({ name }) => name))
    if (next === undefined) break
    query = `?limit=1&cursor=${encodeURIComponent(next)}`
  }
  t.same(
    paged,
    all.images.map(({ name }) => name),
  )
  t.same((await json<Images>('/images?match=*/app:t*')).images.length, 2)
  const { blobs } = await json<{ blobs: object[] }>('/blobs?match=registry.test/**&limit=1000')
  t.equal(blobs.length, 10)
  for (const [query, path] of [
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=x', 'limit'],
    ['match=a%20b', 'match'],
    ['cursor=%00', 'cursor'],
    ['mach=x', 'mach'],
    ['limit=1&limit=2', 'limit'],
  ]) {
    for (const list of ['/images', '/blobs']) {
      const { status, headers, body } = await ask(`${list}?${query}`)
      t.equal(status, 400, `${list} ${query}`)
      t.match(headers['content-type'], 'application/problem+json')
      t.match(JSON.parse(body.toString()), {
        type: 'about:blank',
        title: 'Bad Request',
        status: 400,
        detail: String,
        errors: [{ path, message: String }],
      })
    }
  }
})

t.test('a pull is told at once', async (t) => {
  const { json, cache, clock } = await start(t)
  const times = async () => {
    const { images } = await json<{ images: { lastPull: string }[] }>('/images?match=*/app:one')
    return Date.parse(images[0]?.lastPull ?? '')
  }
  const before = await times()
  clock.time += 3_600_000
  await pull(cache, app, 'one')
  t.equal((await times()) - before, 3_600_000)
})

t.test('a download under way', async (t) => {
  const { cache, json, upstream, waiting } = await start(t)
  t.same(await json('/downloads'), { downloads: [] })
  upstream.fail(on(/blobs/, stallAfter(100_000)))
  const { content } = await cache.manifest(app, waiting)
  const { layers } = JSON.parse(content.bytes.toString()) as {
    layers: [{ digest: Digest }]
  }
  const [{ digest }] = layers
  const found = await cache.blob(app, digest)
  const [download] = (await json<{ downloads: { bytes: number }[] }>('/downloads')).downloads
  t.match(download, { digest, repository: 'registry.test/app', size: 2_000_000, readers: 1 })
  t.ok((download?.bytes ?? 0) <= 100_000)
  if (found.content.kind === 'large') found.content.close()
})

t.test('the shelf', async (t) => {
  const { json } = await start(t)
  t.match(await json('/shelf'), {
    missing: 1,
    images: [
      { image: 'up/*:1', isMissing: true, missingSince: '1970-01-01T00:00:00.000Z' },
      { image: 'app:one', isMissing: false, checkedAt: '1970-01-02T00:00:00.000Z' },
    ],
  })
})

t.test('what changes something, and what it leaves', async (t) => {
  const { json, ask, dir, cache } = await start(t)
  t.same(await json('/pin', { image: 'app:one' }), { image: 'registry.test/app:one', pinned: true })
  const dry = await json<{ removed: { names: string[] }[] }>('/prune', {
    match: '**',
    dryRun: true,
  })
  t.same(
    dry.removed.flatMap(({ names }) => names).sort(),
    ['registry.test/app:three', 'registry.test/app:two'],
    'what is pinned stays',
  )
  t.equal((await json<Images>('/images')).images.length, 3)
  t.match(await json('/evict', { image: 'app:two' }), { image: 'registry.test/app:two', blobs: 3 })
  const pinned = await ask('/evict', { image: 'registry.test/app:one' })
  t.equal(pinned.status, 409)
  t.match(JSON.parse(pinned.body.toString()), { pinnedBy: ['operator'] })
  const found = await json<{ images: { digest: Digest }[] }>('/images?match=*/app:three')
  const name = found.images[0]?.digest
  if (name === undefined) throw new Error('nothing is left')
  truncateSync(join(dir, 'blobs/sha256', hexOf(name).slice(0, 2), hexOf(name)), 10)
  t.match(await json('/verify', { rate: '1GiB/s' }), { isRunning: true })
  await until(() => !cache.verification.state().isRunning)
  t.match(await json('/verify'), {
    isRunning: false,
    flaws: 1,
    findings: [{ name, flaw: 'wrong' }],
  })
  t.match(await json('/evict', { image: 'app:one', force: true }), {
    image: 'registry.test/app:one',
  })
})

t.test('who may look in may not change anything', async (t) => {
  const { ask, may, audited } = await start(t)
  may.delete('admin:write')
  t.equal((await ask('/images')).status, 200)
  const { status, headers } = await ask('/evict', { image: 'app:one' })
  t.equal(status, 403)
  t.match(headers['content-type'], 'application/problem+json')
  t.match(audited, [
    { audit: 'refused', who: 'anonymous', action: 'admin:write', reason: 'policy' },
  ])
})

t.test('pages of somebody else change nothing', async (t) => {
  const { ask, port } = await start(t)
  const from = async (origin: string) =>
    (await ask('/pin', { image: 'app:one' }, { origin })).status
  t.equal(await from(`http://127.0.0.1:${port}`), 200)
  t.equal(await from('http://127.0.0.1:1'), 403)
  t.equal(await from('https://evil.example'), 403)
  t.equal(await from('null'), 403)
  const form = await fetchAnswer(`http://127.0.0.1:${port}/api/v1/pin`, {
    method: 'POST',
    body: '{"image":"app:one"}',
    headers: { 'content-type': 'text/plain' },
  })
  t.equal(form.status, 415)
})

t.test('bodies that cannot be', async (t) => {
  const { ask, port, lines } = await start(t)
  for (const [path, body, errors] of [
    ['/prune', {}, ['body']],
    ['/prune', { dryRun: true }, ['body']],
    ['/prune', { olderThen: '3d', to: 'x', untagged: 'yes' }, ['olderThen', 'untagged', 'to']],
    ['/prune', [], ['']],
    ['/prune', null, ['body']],
    ['/evict', { image: 5 }, ['image']],
    ['/pin', { image: 'app:one', pinned: 1 }, ['pinned']],
    ['/verify', { rate: '0B/s' }, ['rate']],
  ] as const) {
    const answer = await ask(path, body)
    t.equal(answer.status, 400, JSON.stringify(body))
    const problem = JSON.parse(answer.body.toString()) as { errors: { path: string }[] }
    t.same(
      problem.errors.map((error) => error.path).sort(),
      [...errors].sort(),
      JSON.stringify(body),
    )
  }
  const raw = async (body: string) =>
    fetchAnswer(`http://127.0.0.1:${port}/api/v1/prune`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    })
  for (const body of ['{', '', '{"__proto__":{"to":"1GiB"}}']) {
    const { status, headers } = await raw(body)
    t.equal(status, 400, body)
    t.match(headers['content-type'], 'application/problem+json', body)
  }
  t.same(
    lines.filter(({ level }) => Number(level) >= 50),
    [],
  )
})
