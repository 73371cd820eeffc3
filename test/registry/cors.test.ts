// The pages of the admin listener, and no others, may read the gateway's answers.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { allowOrigins } from '../../src/registry/cors.ts'

const page = 'http://localhost:5480'

/** Answers both as the pull API does, by a flat list of headers, and through Fastify. */
async function start(t: Test) {
  const app = Fastify({
    serverFactory: (fastify) =>
      createServer(
        allowOrigins(
          () => [page],
          (req, res) => {
            if (req.url !== '/v2/') fastify(req, res)
            else res.writeHead(200, ['etag', '"x"', 'content-length', '2']).end('{}')
          },
        ),
      ),
  })
  app.get('/token', async () => ({ token: 'x' }))
  await app.ready()
  app.server.listen(0, '127.0.0.1')
  await once(app.server, 'listening')
  t.teardown(() => {
    app.server.closeAllConnections()
    app.server.close()
  })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  return (path: string, init: RequestInit = {}) => fetch(`${url}${path}`, init)
}

t.test('an answer is readable by a page of ours', async (t) => {
  const call = await start(t)
  for (const path of ['/v2/', '/token', '/none']) {
    const { headers } = await call(path, { headers: { origin: page } })
    t.equal(headers.get('access-control-allow-origin'), page, path)
    t.equal(headers.get('access-control-allow-credentials'), 'true')
    t.match(headers.get('access-control-expose-headers'), /\bDocker-Content-Digest\b/)
    t.equal(headers.get('vary'), 'Origin')
  }
  const direct = await call('/v2/', { headers: { origin: page } })
  t.equal(direct.headers.get('etag'), '"x"', 'its own headers are all there')
  t.equal(await direct.text(), '{}')
})

t.test('a preflight is answered before anything is asked', async (t) => {
  const call = await start(t)
  const preflight = {
    method: 'OPTIONS',
    headers: { origin: page, 'access-control-request-method': 'GET' },
  }
  const { status, headers } = await call('/v2/', preflight)
  t.equal(status, 204)
  t.equal(headers.get('access-control-allow-methods'), 'GET, HEAD, POST')
  t.match(headers.get('access-control-allow-headers'), /^Authorization, .*X-Registry$/)
  const other = await call('/none', { method: 'OPTIONS', headers: { origin: page } })
  t.equal(other.status, 404, 'OPTIONS alone is none')
})

t.test('other pages, and callers that are no pages, see the gateway as it is', async (t) => {
  const call = await start(t)
  const origins = ['http://localhost:5481', 'https://localhost:5480', 'null', `${page}.example.org`]
  for (const origin of [undefined, ...origins]) {
    const asPage: Record<string, string> = origin === undefined ? {} : { origin }
    for (const method of ['GET', 'OPTIONS']) {
      const headers = { ...asPage, 'access-control-request-method': 'GET' }
      const response = await call('/token', { method, headers })
      t.equal(response.status, method === 'GET' ? 200 : 404, `${method} from ${origin}`)
      const cors = [...response.headers.keys()].filter((name) => /^access-control|vary/.test(name))
      t.same(cors, [])
    }
  }
})
