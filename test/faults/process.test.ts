// Faults of the process: ended while clients pull, without descriptors, and with calls of the system
// that fail. Tried on a gateway that is a process of its own.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startConfigured, writeConfig, type Gateway } from '../e2e/lab/gateway.ts'
import { startProgram } from '../e2e/lab/program.ts'
import { storedIn, until } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'
import { image, layer, layerPath, manifestPath } from './site.ts'

const isBlobGet = /^GET .*blobs/
const extra = { ...optionsFor('kill'), timeout: 90_000 }

interface Site {
  upstream: faults.Upstream
  dir: string
  gateway: () => Gateway
  open: (path: string) => Promise<IncomingMessage>
  /** What it hashes to, or what came instead of it: a status, or `cut`. */
  pull: (path: string) => Promise<string | number>
  /** Starts it on what is there; before, too. */
  start: () => Promise<void>
}

/** @param by what starts the gateway */
async function startSite(t: Test, by: readonly string[] = []): Promise<Site> {
  const upstream = await faults.startUpstream(t, { repositories: { app: image } })
  const file = writeConfig(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true, grace: '2s' },
    admin: { port: 0 },
    log: { level: 'info' },
    upstreams: { 'registry.test': { url: upstream.url } },
    defaultUpstream: 'registry.test',
  })
  let gateway = await startConfigured(t, file, by)
  const open = async (path: string) => {
    const asked = get({ host: '127.0.0.1', port: gateway.port, path, agent: false })
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    return response
  }
  return {
    upstream,
    dir: join(file, '..', 'cache'),
    gateway: () => gateway,
    open,
    pull: async (path) => bodyOf(await open(path)).catch(() => 'cut'),
    async start() {
      gateway = await startConfigured(t, file)
    },
  }
}

async function bodyOf(response: IncomingMessage): Promise<string | number> {
  if (response.statusCode !== 200) {
    await text(response)
    return response.statusCode ?? 0
  }
  const hash = createHash('sha256')
  for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk)
  return `sha256:${hash.digest('hex')}`
}

/** What must be true of a site that is sound again; ends its gateway. */
async function holds(t: Test, { pull, dir, gateway, start }: Site): Promise<void> {
  t.equal(typeof (await pull(manifestPath)), 'string', 'the next request works')
  for (const digest of image.blobs.keys()) t.equal(await pull(`/v2/app/blobs/${digest}`), digest)
  await until(() => storedIn(dir).includes(layer.digest), 'the layer is stored')
  t.equal(await gateway().program.stop(), 0, 'ends in order')
  await start()
  t.same(readdirSync(join(dir, 'tmp')), [], 'nothing half-written is left after a start')
  t.doesNotThrow(() => storedIn(dir), 'every blob hashes to its name')
  for (const digest of image.blobs.keys()) t.equal(await pull(`/v2/app/blobs/${digest}`), digest)
}

t.test('SIGTERM while clients pull: they get all of it', extra, async (t) => {
  const site = await startSite(t)
  const valve = faults.valveAfter(layer.bytes.length / 2)
  site.upstream.fail(faults.on(isBlobGet, valve.fault))
  const clients = await Promise.all(Array.from({ length: 20 }, async () => site.open(layerPath)))
  const bodies = clients.map(bodyOf)
  const { program, logged } = site.gateway()
  const ended = program.stop('SIGTERM')
  await logged('its end', ({ msg }) => String(msg).startsWith('ending'))
  valve.open()
  for (const body of await Promise.all(bodies)) t.equal(body, layer.digest)
  t.equal(await ended, 0)
  await site.start()
  await holds(t, site)
})

t.test('SIGTERM while an upstream stalls: cut after the grace, and said so', extra, async (t) => {
  const site = await startSite(t)
  site.upstream.fail(faults.on(isBlobGet, faults.stallAfter(layer.bytes.length / 2)))
  const clients = await Promise.all(Array.from({ length: 5 }, async () => site.open(layerPath)))
  const bodies = clients.map(async (client) => bodyOf(client).catch(() => 'cut'))
  const { program, log } = site.gateway()
  t.equal(await program.stop('SIGTERM'), 1)
  t.same(
    await Promise.all(bodies),
    Array.from({ length: 5 }, () => 'cut'),
  )
  t.match(log().at(-1), { cut: 5, msg: /transfers were cut/ })
  site.upstream.fail()
  await site.start()
  await holds(t, site)
})

t.test('few descriptors, and more clients than they last for', extra, async (t) => {
  // Node raises the soft limit to the hard one by itself.
  const site = await startSite(t, ['prlimit', '--nofile=72:72'])
  await site.gateway().logged('its limit', ({ limit }) => limit === 72)
  const gate = faults.gate()
  site.upstream.fail(faults.on(isBlobGet, gate.fault))
  const clients = Array.from({ length: 80 }, async () => site.pull(layerPath).catch(() => 'cut'))
  // Clients may have taken all that a connection to the upstream needs, which then is not asked.
  await Promise.race([gate.held(1), Promise.all(clients)])
  gate.open()
  const allowed = new Set<string | number>([layer.digest, 'cut', 503])
  for (const body of await Promise.all(clients)) t.ok(allowed.has(body), `${body}`)
  site.upstream.fail()
  await holds(t, site)
})

/** What the kernel answers instead of doing it, each until it is well again. */
const refusals = {
  'fsync fails': 'fsync,fdatasync:error=EIO',
  'write fails': 'pwrite64:error=EIO',
  'write finds no room': 'pwrite64:error=ENOSPC',
  'read fails': 'pread64:error=EIO',
  'rename fails': 'rename:error=EIO',
  'open fails': 'open,openat:error=EACCES',
}

for (const [name, injection] of Object.entries(refusals)) {
  t.test(`the disk: ${name}`, { ...extra, ...optionsFor('injection') }, async (t) => {
    const site = await startSite(t)
    const [calls = ''] = injection.split(':')
    // Some is stored before, to be read while it cannot be.
    t.equal(await site.pull(layerPath), layer.digest)
    await until(() => storedIn(site.dir).includes(layer.digest), 'the layer is stored')
    const strace = await startProgram(t, {
      command: 'strace',
      args: ['-f', '-p', `${site.gateway().program.pid}`, '-e', `trace=${calls}`].concat([
        '-e',
        `inject=${injection}`,
      ]),
      ready: ({ output }) => output().includes('attached'),
    })
    t.equal(typeof (await site.pull(manifestPath)), 'string', 'a tag is served')
    for (const digest of image.blobs.keys()) {
      t.equal(await site.pull(`/v2/app/blobs/${digest}`), digest, 'every blob is served')
    }
    t.match(strace.output(), /INJECTED/, 'it has been met')
    await strace.stop('SIGINT')
    await holds(t, site)
  })
}
