// What keeps pulls from being served, and what is a warning only.
import { createServer } from 'node:http'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { createReadiness } from '../../src/admin/readiness.ts'
import type { Config } from '../../src/config/schema.ts'
import { noTls } from '../helpers/listener.ts'

t.test('an expired certificate towards an upstream is a warning', async (t) => {
  const config = { listen: { insecureHttp: true }, admin: { tls: noTls } } as Config
  const registry = { server: createServer() } as unknown as FastifyInstance
  const expiry = {
    kind: 'certificate' as const,
    use: 'upstreams.registry.test.tls.cert',
    file: '/etc/client.crt',
    name: 'CN=gateway',
  }
  const soon = { ...expiry, use: 'upstreams.other.test.tls.cert', expiresAt: Date.now() + 60_000 }
  const { problems, warnings } = await createReadiness()(config, registry, {
    problems: [],
    warnings: ['the disk is full'],
    upstreams: [{ ...expiry, expiresAt: Date.UTC(2026, 0, 1) }, soon],
  })
  t.same(problems, ['the gateway is not listening'])
  t.same(warnings, [
    'upstreams.registry.test.tls.cert: expired on 2026-01-01T00:00:00.000Z',
    'the disk is full',
  ])
})
