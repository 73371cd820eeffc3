// Several endpoints of one upstream: who is asked, and how each of them is asked.
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { addBlob, largest, readAll, startSite } from '../../helpers/cache.ts'
import { ask, startUpstreams, upstreamConfig } from '../../helpers/ask.ts'
import { tokenAuth } from '../../helpers/token-auth.ts'
import * as faults from '../../helpers/upstream.ts'
import { testPki } from '../../helpers/tls.ts'

const image = await buildSampleImage({ layerBytes: 2_000_000 })
const repositories = { app: image }

type Endpoint = ReturnType<typeof upstreamConfig>['endpoints'][number]

function endpoint(url: string, others: Partial<Endpoint> = {}): Endpoint {
  const { tls, auth } = upstreamConfig({ url })
  return { url, gateway: false, tls, auth, ...others }
}

/** Two that hold the same, and a client that asks the first one first. */
async function startTwo(t: Test) {
  const first = await faults.startUpstream(t, { repositories })
  const second = await faults.startUpstream(t, { repositories })
  const client = startUpstreams(t, { url: first.url, endpoints: [endpoint(second.url)] })
  return { first, second, client }
}

t.test(
  'the first that works is asked, then the next, and the first again after 30 s',
  async (t) => {
    const { first, second, client } = await startTwo(t)
    const asks = async () => t.equal((await ask(client.open, {})).response?.status, 200)
    await asks()
    t.same([first.requests.length, second.requests.length], [1, 0])
    t.match(client.status(), [{ upstream: 'up', inUse: { url: first.url, mode: 'plain' } }])

    first.fail(faults.status(503))
    await asks()
    t.same([first.requests.length, second.requests.length], [2, 1], 'asked once, not retried')
    await asks()
    t.same([first.requests.length, second.requests.length], [2, 2], 'and left alone')
    const [status] = client.status()
    t.equal(status?.inUse.url, second.url)
    t.match(status?.endpoints, [
      { url: first.url, restsUntil: Number, lastFailure: { reason: 'http_5xx', cause: /503/ } },
      { url: second.url, restsUntil: undefined, lastFailure: undefined },
    ])

    client.forward(30_001)
    await asks()
    t.same([first.requests.length, second.requests.length], [3, 3], 'it fails still')
    first.fail()
    client.forward(30_001)
    await asks()
    await asks()
    t.same([first.requests.length, second.requests.length], [5, 3], 'it is back')
    t.match(client.status()[0]?.endpoints, [{ restsUntil: undefined }, {}])
  },
)

t.test('after a rest one request finds out, and the others do not wait for it', async (t) => {
  const { first, second, client } = await startTwo(t)
  first.fail(faults.status(503))
  await ask(client.open, {})
  const gate = faults.gate()
  first.fail(gate.fault)
  client.forward(30_001)
  const probe = ask(client.open, {})
  await gate.held(1)
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(second.requests.length, 2)
  gate.open()
  t.equal((await probe).response?.status, 200)
  await ask(client.open, {})
  t.equal(first.requests.length, 3)
})

const unreachable: Record<string, faults.Fault> = {
  'resets the connection': faults.resetAfter(0),
  'limits the rate': faults.status(429, { 'retry-after': '60' }),
  'answers nonsense': faults.status(418),
}
for (const [what, fault] of Object.entries(unreachable)) {
  t.test(`one that ${what} is not the last word`, async (t) => {
    const { first, client } = await startTwo(t)
    first.fail(fault)
    t.equal((await ask(client.open, {})).response?.status, 200)
  })
}

t.test('nobody listens at the first', async (t) => {
  const second = await faults.startUpstream(t, { repositories })
  const gone = await faults.startUpstream(t, { repositories })
  await gone.close()
  const client = startUpstreams(t, { url: gone.url, endpoints: [endpoint(second.url)] })
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.match(client.status()[0]?.endpoints[0], { lastFailure: { reason: 'refused' } })
})

t.test('an answer is an answer: 404 and 403 are asked nowhere else', async (t) => {
  const { first, second, client } = await startTwo(t)
  t.equal((await ask(client.open, { resource: 'manifests/none' })).response?.status, 404)
  first.fail(faults.status(403))
  t.match((await ask(client.open, {})).error, { code: 'DENIED' })
  t.equal(second.requests.length, 0)
  t.equal(client.status()[0]?.inUse.url, first.url, 'nor does it rest')
})

t.test('a 404 that is not that of a registry is no answer', async (t) => {
  const { first, second, client } = await startTwo(t)
  const stray = faults.status(404, { 'content-type': 'text/plain' }, '404 page not found\n')
  first.fail(stray)
  for (const method of ['GET', 'HEAD'] as const) {
    t.equal((await ask(client.open, { method })).response?.status, 200)
  }
  second.fail(stray)
  const { response, body } = await ask(client.open, {})
  t.match({ response, body: body.toString() }, { response: { status: 404 }, body: /page/ })
  const errors = '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x"}]}'
  first.fail(faults.status(404, {}, errors))
  const asked = second.requests.length
  const told = await ask(client.open, {})
  t.same(
    [told.response?.status, told.body.toString(), told.order],
    [404, errors, ['start', 'data', 'end']],
  )
  t.equal(second.requests.length, asked, 'that one is')
})

t.test('one image that fails by 500 moves nobody', async (t) => {
  const { first, second, client } = await startTwo(t)
  first.fail(faults.on(/latest/, faults.status(500)))
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(second.requests.length, 1)
  await ask(client.open, { resource: 'manifests/1.0' })
  t.equal(second.requests.length, 1)
})

t.test('all fail: the last failure is told, and all are asked the next time', async (t) => {
  const { first, second, client } = await startTwo(t)
  first.fail(faults.status(500))
  second.fail(faults.status(502))
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'UPSTREAM_FAILED', blame: { status: 502 } })
  t.same([first.requests.length, second.requests.length], [1, 4], 'only the last is retried')
  second.fail()
  t.equal((await ask(client.open, {})).response?.status, 200)
})

t.test('each has its own TLS and its own credentials', async (t) => {
  const { ca, server, client: pair } = await testPki()
  const tls = { cert: server.certificatePem, key: server.keyPem }
  const first = await faults.startUpstream(t, {
    repositories,
    tls: { ...tls, ca: ca.certificatePem, requestCert: true, rejectUnauthorized: true },
  })
  const tokens = tokenAuth({ credentials: { username: 'robot', password: 'secret' } })
  const second = await faults.startUpstream(t, { repositories, faults: [tokens.fault] })
  const folder = t.testdir({
    'ca.crt': ca.certificatePem,
    'up.crt': pair.certificatePem,
    'up.key': pair.keyPem,
    password: 'secret\n',
  })
  const client = startUpstreams(t, {
    url: first.url.replace('127.0.0.1', 'localhost'),
    tls: { ca: `${folder}/ca.crt`, cert: `${folder}/up.crt`, key: `${folder}/up.key` },
    endpoints: [
      endpoint(second.url, {
        auth: {
          realms: [],
          fallback: 'anonymous',
          username: 'robot',
          passwordFile: `${folder}/password`,
        },
      }),
    ],
  })
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(first.requests[0]?.peerSubject, 'CN=client')
  t.equal(first.requests[0]?.headers.authorization, undefined)
  first.fail(faults.status(503))
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.match(second.requests.at(-1)?.headers.authorization, /^Bearer /)
  t.match(client.status()[0]?.endpoints, [{ mode: 'two-way secure' }, { mode: 'plain' }])
})

t.test('a download that breaks goes on at the next, by Range', async (t) => {
  const { first, second, client } = await startTwo(t)
  const place = { upstream: 'up', repository: 'app' }
  const { cache } = await startSite(t, { openUpstream: client.open })
  const [digest, bytes] = largest(image)
  first.fail(faults.on(/blobs/, faults.closeAfter(1_000_000)))
  t.ok((await readAll(await cache.blob(place, digest))).equals(bytes))
  t.equal(first.count(/blobs/), 1)
  t.equal(second.count(/blobs/), 1)
  t.match(second.requests[0]?.headers.range, /^bytes=[1-9]\d*-$/)
})

t.test(
  'wrong bytes of the first: whoever asks again gets the right ones of the next',
  async (t) => {
    const { first, second, client } = await startTwo(t)
    const { cache } = await startSite(t, {
      openUpstream: client.open,
      report: (...told) => client.report(...told),
    })
    const place = { upstream: 'up', repository: 'app' }
    const [digest, bytes] = largest(image)
    first.fail(faults.on(/blobs/, faults.flipByte(10)))
    await t.rejects(async () => readAll(await cache.blob(place, digest)), {
      message: /does not hash/,
    })
    t.ok((await readAll(await cache.blob(place, digest))).equals(bytes))
    t.same(client.badAnswers, [['up', 'digest_mismatch']])
    client.forward(30_001)
    first.fail(faults.htmlPage())
    const index = image.tags.get('latest') ?? digest
    await t.rejects(async () => cache.manifest(place, index), { message: /does not hash/ })
    t.equal((await cache.manifest(place, index)).content.digest, index)
    t.equal(second.count(/manifests/), 1)
  },
)

t.test(
  'many get wrong bytes of the first at once: the second is asked then, and not blamed',
  async (t) => {
    const content = await buildSampleImage({ layerBytes: 1000 })
    const digests = Array.from({ length: 5 }, () => addBlob(content, randomBytes(300_000)))
    const first = await faults.startUpstream(t, { repositories: { app: content } })
    const second = await faults.startUpstream(t, { repositories: { app: content } })
    const client = startUpstreams(t, { url: first.url, endpoints: [endpoint(second.url)] })
    const { cache } = await startSite(t, {
      openUpstream: client.open,
      report: (...told) => client.report(...told),
    })
    const place = { upstream: 'up', repository: 'app' }
    const gate = faults.gate()
    let held = 0
    // All but the last have begun when the first of them fails; the last begins after that.
    first.fail((req, res) => {
      const isLast = (held += 1) === digests.length
      return (isLast ? gate.fault : faults.flipByte(10))(req, res)
    })
    const pulls = digests.map(async (digest) => readAll(await cache.blob(place, digest)))
    const results = await Promise.allSettled(pulls.slice(0, -1))
    t.same(new Set(results.map(({ status }) => status)), new Set(['rejected']))
    const inUse = () => client.status()[0]?.inUse.url
    t.equal(inUse(), second.url, 'whoever was right')
    gate.open()
    await pulls.at(-1)
    t.equal(inUse(), second.url, 'an answer that was under way says nothing of what is sent now')
    client.forward(30_001)
    first.fail()
    t.equal(inUse(), first.url)
  },
)

t.test('the first dies while many pull: everybody gets all of it', async (t) => {
  const content = await buildSampleImage({ layerBytes: 1000 })
  const blobs = Array.from({ length: 12 }, () => randomBytes(3_000_000))
  const digests = blobs.map((bytes) => addBlob(content, bytes))
  const first = await faults.startUpstream(t, { repositories: { app: content } })
  const second = await faults.startUpstream(t, { repositories: { app: content } })
  const client = startUpstreams(t, { url: first.url, endpoints: [endpoint(second.url)] })
  const { cache } = await startSite(t, { openUpstream: client.open })
  const place = { upstream: 'up', repository: 'app' }
  let received = 0
  const onRead = (bytes: number) => {
    received += bytes
    if (received > 4_000_000 && received - bytes <= 4_000_000) void first.close()
  }
  const pulls = [...digests, ...digests].map(async (digest, index) => {
    const all = await readAll(await cache.blob(place, digest), 0, 64 * 1024, onRead)
    t.ok(all.equals(blobs[index % blobs.length] ?? Buffer.alloc(0)))
  })
  await Promise.all(pulls)
  t.ok(second.count(/blobs/) > 0)
  t.ok(first.count(/blobs/) + second.count(/blobs/) <= 3 * blobs.length, 'no storm')
})

t.test('whoever aborts hears nothing more, and nobody else is asked', async (t) => {
  const { first, second, client } = await startTwo(t)
  const gate = faults.gate()
  first.fail(gate.fault)
  const told: string[] = []
  const receiver = {
    start: () => void told.push('start'),
    data: () => void told.push('data'),
    end: () => void told.push('end'),
    fail: () => void told.push('fail'),
  }
  const request = {
    upstream: 'up',
    method: 'GET',
    repository: 'app',
    resource: 'tags/list',
  } as const
  const flow = client.open(request, receiver)
  await gate.held(1)
  flow.abort()
  gate.open()
  await client.close()
  t.same(told, [])
  t.equal(second.requests.length, 0)
})
