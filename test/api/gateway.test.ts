// admin.yaml says what /api/v1 answers about the gateway itself; and what it does.
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { readDocument, type Answer } from '../helpers/api-document.ts'
import { checkContract, type Case } from '../helpers/contract.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { testPki } from '../helpers/tls.ts'

const image = await buildSampleImage({ layerBytes: 1000 })

async function start(t: Test, clientAuth = 'optional') {
  const pki = await testPki()
  const upstream = await startUpstream(t, { repositories: { 'team/app': image } })
  const files = { 'client.crt': pki.client.certificatePem, 'client.key': pki.client.keyPem }
  const yaml = `upstreams:
  registry.test:
    url: '${upstream.url}'
    endpoints: [{ url: 'https://other.test', tls: { cert: client.crt, key: client.key } }]
defaultUpstream: registry.test
log: { level: debug }
shelf: [{ image: 'registry.test/team/none:1.0' }]
auth: { require: certificate }`
  const gateway = await startTestGateway(t, yaml, { files, clientAuth })
  const open = async (path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const asked = request({
      port: gateway.adminPort,
      path: `/api/v1${path}`,
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    })
    asked.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    return response
  }
  const ask = async (...asked: Parameters<typeof open>) => answerOf(await open(...asked))
  const json = async <Body>(...asked: Parameters<typeof open>) => {
    const { status, body } = await ask(...asked)
    t.equal(status, 200, asked[0])
    return JSON.parse(body.toString()) as Body
  }
  /** What the topic is told next that `isIt` is true for. */
  const following = async (topic: string) => {
    const response = await open('/events')
    t.teardown(() => response.destroy())
    const events = eventsOf(response)
    return async (isIt: (data: unknown) => boolean) => {
      for (;;) {
        const { value, done } = await events.next()
        if (done === true) return undefined
        if (value.event === topic && isIt(value.data)) return value.data
      }
    }
  }
  return { ...gateway, upstream, open, ask, json, following }
}

async function answerOf(response: IncomingMessage, body?: Buffer): Promise<Answer> {
  return {
    status: response.statusCode ?? 0,
    headers: response.headers as Record<string, string>,
    body: body ?? (await buffer(response)),
  }
}

async function* eventsOf(response: IncomingMessage) {
  let text = ''
  for await (const chunk of response) {
    text += String(chunk)
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? []
      if (event !== undefined) yield { event, data: JSON.parse(data ?? '') as unknown }
    }
  }
}

t.test('every documented response', async (t) => {
  const gateway = await start(t)
  const { ask, open, folder } = gateway
  const document = readDocument('admin.yaml')
  const ofCache = /^\/api\/v1\/(?:images|blobs|downloads|shelf|prune|pin|evict|verify)$/
  const operations = document.operations.filter(
    ({ path }) => path.startsWith('/api/') && !ofCache.test(path),
  )
  await gateway.send('/v2/', { client: null })
  await ask('/log', { level: 'debug' })
  await gateway.reload()
  const bodies: Record<string, unknown> = { reload: {}, setLogLevel: { level: 'warn' } }
  const first = async (response: IncomingMessage) => {
    const [chunk] = (await once(response, 'data')) as [Buffer]
    response.destroy()
    return answerOf(response, chunk)
  }
  const cases = operations.flatMap(({ id, path }): Case[] => {
    const at = path.slice('/api/v1'.length)
    const foreign = { host: 'elsewhere.example' }
    const right = async () => (id === 'followEvents' ? first(await open(at)) : ask(at, bodies[id]))
    return [
      { operation: id, status: 200, send: right },
      { operation: id, status: 403, send: async () => ask(at, bodies[id], foreign) },
      { operation: id, status: 404, send: async () => ask(`${at}/no`) },
    ]
  })
  const refusedReload = async () => {
    const file = join(folder, 'gateway.yaml')
    writeFileSync(file, `${readFileSync(file, 'utf8')}\nunknown: 1\n`)
    return ask('/reload', {})
  }
  const crowd = async () => {
    const others = await Promise.all(Array.from({ length: 50 }, async () => open('/events')))
    const answer = await ask('/events')
    for (const other of others) other.destroy()
    return answer
  }
  await checkContract(t, { ...document, operations }, [
    ...cases,
    { operation: 'setLogLevel', status: 400, send: async () => ask('/log', { level: 'loud' }) },
    { operation: 'setLogLevel', status: 400, send: async () => ask('/log', {}) },
    { operation: 'followEvents', status: 503, send: crowd },
    { operation: 'reload', status: 409, send: refusedReload },
  ])
})

t.test('upstreams, certificates, shelf and sessions', async (t) => {
  const { json, upstream, send, open } = await start(t)
  const session = await open('/events')
  t.teardown(() => session.destroy())
  t.equal((await send('/v2/team/app/manifests/1.0')).status, 200)
  const { upstreams } = await json<{ upstreams: object[] }>('/upstreams')
  t.match(upstreams, [
    {
      name: 'registry.test',
      offline: false,
      circuit: { state: 'closed' },
      inUse: upstream.url,
      endpoints: [
        { url: upstream.url, gateway: false, mode: 'plain' },
        { url: 'https://other.test', mode: String },
      ],
      certificates: [{ use: 'upstreams.registry.test.endpoints.0.tls.cert', daysLeft: Number }],
    },
  ])
  const { certificates } = await json<{ certificates: { use: string; expires: string }[] }>(
    '/certificates',
  )
  t.match(
    new Set(certificates.map(({ use }) => use)),
    new Set(['listen.tls.cert', 'listen.tls.clientCa']),
  )
  t.same(
    certificates,
    certificates.toSorted((a, b) => Date.parse(a.expires) - Date.parse(b.expires)),
  )
  t.match(await json('/shelf'), {
    images: [{ image: 'registry.test/team/none:1.0', isMissing: true }],
  })
  t.match(await json('/sessions'), { sessions: [{ identity: 'anonymous', how: 'anonymous' }] })
})

t.test('who was refused, and why', async (t) => {
  const { json, send, following } = await start(t)
  const next = await following('refusals')
  await send('/v2/team/app/manifests/1.0', { client: null })
  const { refusals } = await json<{ refusals: object[] }>('/refusals')
  t.match(refusals, [
    { at: String, client: /127\.0\.0\.1$/, who: 'anonymous', action: 'pull', reason: String },
  ])
  t.same(await next((data) => Array.isArray(data) && data.length > 0), refusals)
})

t.test(
  'who is refused by the handshake is told, too, without those who only look in',
  async (t) => {
    const { json, send, port } = await start(t, 'required')
    await t.rejects(send('/v2/', { client: null }))
    const probe = connect(port, '127.0.0.1')
    await once(probe, 'connect')
    probe.destroy()
    await once(probe, 'close')
    t.equal((await send('/v2/')).status, 200)
    const { refusals } = await json<{ refusals: object[] }>('/refusals')
    t.match(refusals, [{ client: /127\.0\.0\.1$/, how: 'handshake', reason: 'no_certificate' }])
    t.equal(refusals.length, 1)
  },
)

t.test('a reload that is refused says why, also to who follows', async (t) => {
  const { ask, json, folder, following } = await start(t)
  const next = await following('reloads')
  const file = join(folder, 'gateway.yaml')
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, `${before}\nunknown: 1\n`)
  const { status, body } = await ask('/reload', {})
  t.equal(status, 409)
  t.match(JSON.parse(body.toString()), { detail: /^what was in use stays in use: unknown: / })
  t.match(await next((data) => Array.isArray(data) && data.length > 0), [
    { result: 'refused', problems: [/^unknown: /] },
  ])
  writeFileSync(file, before)
  t.same(await json('/reload', {}), { reloaded: true })
})

t.test('streams end at a reload, so that who follows is judged by what is in force', async (t) => {
  const { json, open } = await start(t)
  const response = await open('/events')
  response.resume()
  t.same(await json('/reload', {}), { reloaded: true })
  await once(response, 'end')
})

t.test('the log level changes by the API, and by the config', async (t) => {
  const { json, folder, reload, send, lines } = await start(t)
  t.same(await json('/log', { level: 'error' }), { level: 'error' })
  const logged = lines.length
  await send('/v2/')
  t.equal(lines.length, logged, 'requests are not logged any more')
  t.ok(await reload())
  t.same(await json('/log'), { level: 'error' }, 'a reload for something else leaves it')
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace('level: debug', 'level: info'))
  t.ok(await reload())
  t.same(await json('/log'), { level: 'info' })
  await send('/v2/')
  while (!lines.some(({ msg }) => msg === 'request')) await setTimeout(5)
  writeFileSync(file, readFileSync(file, 'utf8').replace('level: info', 'pretty: true'))
  t.notOk(await reload(), 'its form needs a restart')
})
