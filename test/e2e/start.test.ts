// A gateway that cannot start says which field is wrong and why, and exits with 2.
import { chmodSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { optionsFor } from '../requirements.ts'
import { makeCertificates } from './lab/certificates.ts'
import { makeFolder, subfolder } from './lab/folder.ts'
import { serveCommand, writeConfig, type Section } from './lab/gateway.ts'
import { run, type Outcome } from './lab/program.ts'

/** Root may read and write everything, unless these capabilities are taken away. */
const withoutPrivileges =
  process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search'] : []

t.test('a gateway that cannot start', optionsFor('start'), async (t) => {
  const folder = makeFolder(t)
  const { gateway, gatewayClient, client, ca } = await makeCertificates(folder)
  const tls = (changes: Section = {}) => ({ ...gateway, ...changes })

  /** Starts with what is right, but for `changes`, and waits for the end. */
  function start(changes: Section): Promise<Outcome> {
    const right = {
      listen: { host: '127.0.0.1', port: 0, tls: tls() },
      admin: { port: 0 },
      upstreams: { 'registry.local': {} },
    }
    const [command = '', ...args] = [
      ...withoutPrivileges,
      ...serveCommand(writeConfig(t, { ...right, ...changes })),
    ]
    return run(command, args)
  }
  const listen = (changes: Section) => start({ listen: { host: '127.0.0.1', port: 0, ...changes } })
  const upstream = (changes: Section) =>
    start({ upstreams: { 'registry.local': { tls: { ...gatewayClient, ...changes } } } })

  await t.test('its port is taken', async (t) => {
    const holder = createServer().listen(0, '127.0.0.1')
    t.teardown(() => holder.close())
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    refused(t, await listen({ port, tls: tls() }), 'listen.port', /is taken/)
    refused(t, await start({ admin: { port } }), 'admin.port', /is taken/)
  })

  await t.test('a key may not be read', async (t) => {
    const key = join(folder, 'locked.key')
    writeFileSync(key, '')
    chmodSync(key, 0)
    refused(t, await listen({ tls: tls({ key }) }), 'listen.tls.key', /permission denied/)
    refused(t, await upstream({ key }), 'upstreams.registry.local.tls.key', /permission denied/)
  })

  await t.test('a key is not there, or is none', async (t) => {
    const key = join(folder, 'none.key')
    refused(t, await listen({ tls: tls({ key }) }), 'listen.tls.key', /no such file/)
    refused(t, await listen({ tls: tls({ key: ca.edge }) }), 'listen.tls.key', /key/)
    refused(t, await upstream({ key: ca.edge }), 'upstreams.registry.local.tls.key', /key/)
  })

  await t.test('a key is that of another certificate', async (t) => {
    const { key } = client
    refused(t, await listen({ tls: tls({ key }) }), 'listen.tls.key', /does not belong/)
    refused(t, await upstream({ key }), 'upstreams.registry.local.tls.key', /does not belong/)
  })

  await t.test('the folder of the cache may not be written to, or is none', async (t) => {
    const dir = subfolder(folder, 'locked')
    chmodSync(dir, 0o500)
    refused(t, await start({ cache: { dir } }), 'cache.dir', /cannot be written/)
    refused(
      t,
      await start({ cache: { dir: join(dir, 'below') } }),
      'cache.dir',
      /cannot be written/,
    )
    refused(t, await start({ cache: { dir: ca.edge } }), 'cache.dir', /is not a folder/)
  })
})

function refused(t: Test, outcome: Outcome, field: string, reason: RegExp): void {
  const line = new RegExp(`^${field.replaceAll('.', '\\.')}: .*(${reason.source})`, 'm')
  t.match(outcome, { code: 2, stderr: line }, field)
}
