// The API documents: valid, complete, and in agreement with the table of errors.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { createConfig, lint } from '@redocly/openapi-core'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { createMetrics } from '../../src/admin/metrics.ts'
import type { CacheApiOptions } from '../../src/admin/api/cache-api.ts'
import type { GatewayApiOptions } from '../../src/admin/api/gateway-api.ts'
import { createAdmin } from '../../src/admin/server.ts'
import type { Config } from '../../src/config/schema.ts'
import { statusOf } from '../../src/errors.ts'
import { createServer } from '../../src/listener/server.ts'
import { parseResource, type Resource } from '../../src/oci/resource.ts'
import { createRegistryServer } from '../../src/registry/server.ts'
import { exampleCodes, folder, readDocument, type Document } from '../helpers/api-document.ts'
import { defaultLimits, recordingLog } from '../helpers/listener.ts'

const registry = readDocument('ociregistry.yaml')
const admin = readDocument('admin.yaml')

const plain: Config['admin'] = {
  host: '127.0.0.1',
  port: 0,
  names: [],
  tls: {
    minVersion: 'TLSv1.2',
    clientAuth: 'none',
    clientCa: [],
    crl: [],
    crlMaxStale: 0,
    crlRollback: false,
  },
}

t.test('lint finds nothing', async (t) => {
  const config = await createConfig({
    extends: ['recommended-strict'],
    rules: {
      // The distribution specification has them.
      'no-path-trailing-slash': 'off',
      // Pushing never succeeds.
      'operation-2xx-response': 'off',
    },
  })
  for (const file of ['ociregistry.yaml', 'admin.yaml']) {
    const problems = await lint({ ref: join(folder, file), config })
    const found = problems.map(({ ruleId, message, location }) => ({
      ruleId,
      message,
      at: location[0]?.pointer,
    }))
    t.same(found, [], file)
  }
})

t.test('the codes are those of the table of errors, each below its status', async (t) => {
  const codes = (document: Document) => {
    const errors = document.components.schemas['Errors'] as unknown as {
      properties: { errors: { items: { properties: { code: { enum: string[] } } } } }
    }
    return errors.properties.errors.items.properties.code.enum
  }
  const known = new Set(Object.keys(statusOf))
  t.same(new Set(codes(registry)), known)
  t.same(
    codes(admin).filter((code) => !known.has(code)),
    [],
  )
  const shown = new Set<string>()
  for (const { id, responses } of [...registry.operations, ...admin.operations]) {
    for (const [status, response] of Object.entries(responses)) {
      for (const code of exampleCodes(response)) {
        shown.add(code)
        if (status === 'default') continue
        t.equal(statusOf[code as keyof typeof statusOf], Number(status), `${id}: ${code}`)
      }
    }
  }
  // Answered by the cache as UPSTREAM_FAILED: what comes from upstream is no fault of the client.
  shown.add('MANIFEST_INVALID')
  t.same(shown, known, 'each has an example')
})

t.test('every operation of a client can be named once', async (t) => {
  for (const { operations } of [registry, admin]) {
    const ids = operations.map(({ id }) => id)
    t.equal(new Set(ids).size, ids.length)
  }
})

t.test('every route of the gateway is in its document', async (t) => {
  const routes = await routesOf(() =>
    createRegistryServer({
      listener: (handler) =>
        createServer(
          { ...plain, insecureHttp: true },
          {
            handler,
            log: recordingLog().log,
            limits: () => defaultLimits,
            onHandshakeFailure: () => undefined,
          },
        ),
      pull: () => undefined,
      takeShare: () => '',
      tokens: () => ({ give: async () => ({}), keys: async () => ({}) }),
      record: () => undefined,
      origins: () => [],
    }),
  )
  t.ok(routes.includes('GET /token'), 'the routes are found')
  t.same(undocumented(routes, registry), [])

  // What does not go through Fastify is read by one parser.
  const kinds: Record<Resource['kind'], boolean> = {
    base: false,
    catalog: false,
    tags: false,
    referrers: false,
    blob: false,
    manifest: false,
    upload: false,
  }
  for (const { path } of registry.operations) {
    if (!path.startsWith('/v2/')) continue
    const target = path
      .replace('{name}', 'library/alpine')
      .replace('{reference}', 'latest')
      .replace('{digest}', `sha256:${'0'.repeat(64)}`)
    kinds[parseResource(target).kind] = true
  }
  t.notOk(Object.values(kinds).includes(false), JSON.stringify(kinds))
})

t.test('every route of the admin listener is in its document', async (t) => {
  const routes = await routesOf(() =>
    createAdmin({
      config: plain,
      metrics: createMetrics(),
      readiness: async () => ({ ok: true, problems: [], warnings: [] }),
      limits: () => defaultLimits,
      gatewayUrls: () => [],
      log: recordingLog().log,
      // Nothing is asked.
      api: {
        cache: {} as CacheApiOptions['cache'],
        parseImage: () => ({ upstream: '', repository: '', reference: '' }),
        gateway: { traffic: {} } as GatewayApiOptions,
      },
    }),
  )
  t.ok(routes.includes('GET /docs/admin.json'), 'the routes are found')
  t.ok(routes.includes('POST /api/v1/prune'), 'those below a prefix, too')
  t.same(undocumented(routes, admin), [])
})

function undocumented(routes: readonly string[], { operations }: Document): string[] {
  const documented = new Set(operations.map(({ method, path }) => `${method} ${path}`))
  return routes.filter((route) => !documented.has(route))
}

/**
 * The routes that an app declares, but for the files of Swagger UI and the HEAD beside a GET. Those below `/docs` are
 * there once somebody opens it.
 */
async function routesOf(create: () => FastifyInstance): Promise<string[]> {
  const routes: string[] = []
  const watch = (message: unknown): void => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', ({ method, path, schema }) => {
      const isOther = path.startsWith('/docs/static') || path === '/docs/*'
      if (schema?.hide === true || method === 'HEAD' || isOther) return
      routes.push(`${String(method)} ${path}`)
    })
  }
  subscribe('fastify.initialization', watch)
  const app = create()
  await app.inject('/docs/json')
  unsubscribe('fastify.initialization', watch)
  await app.close()
  return routes
}
