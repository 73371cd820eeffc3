// A gateway that is a process of its own, in front of an upstream, for the faults of processes.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import tap, { type Test } from 'tap'
import { makeFolder } from '../e2e/lab/folder.ts'
import { startConfigured, writeConfig, type Gateway } from '../e2e/lab/gateway.ts'
import { storedIn, until } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'
import { image, layer, manifestPath } from './site.ts'

/** With modules that are compiled already it starts in half the time. */
const compiled = ['env', `NODE_COMPILE_CACHE=${makeFolder(tap)}`]

export interface ProcessSite {
  upstream: faults.Upstream
  dir: string
  gateway: () => Gateway
  open: (path: string) => Promise<IncomingMessage>
  /** What it hashes to, or what came instead of it: a status, or `cut`. */
  pull: (path: string) => Promise<string | number>
  /** Starts it on what is there; before, too. */
  start: () => Promise<void>
}

/** @param by what starts the gateway for the first time */
export async function startProcess(t: Test, by: readonly string[] = []): Promise<ProcessSite> {
  const upstream = await faults.startUpstream(t, { repositories: { app: image } })
  const file = writeConfig(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true, grace: '2s' },
    admin: { port: 0 },
    log: { level: 'info' },
    upstreams: { 'registry.test': { url: upstream.url } },
    defaultUpstream: 'registry.test',
  })
  let gateway = await startConfigured(t, file, [...by, ...compiled])
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
      gateway = await startConfigured(t, file, compiled)
    },
  }
}

export async function bodyOf(response: IncomingMessage): Promise<string | number> {
  if (response.statusCode !== 200) {
    await text(response)
    return response.statusCode ?? 0
  }
  const hash = createHash('sha256')
  for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk)
  return `sha256:${hash.digest('hex')}`
}

/** What must be true of a site that is sound again; ends its gateway. */
export async function assertSound(
  t: Test,
  { pull, dir, gateway, start }: ProcessSite,
): Promise<void> {
  t.equal(typeof (await pull(manifestPath)), 'string', 'the next request works')
  for (const digest of image.blobs.keys()) t.equal(await pull(`/v2/app/blobs/${digest}`), digest)
  await until(() => storedIn(dir).includes(layer.digest), 'the layer is stored')
  t.equal(await gateway().program.stop(), 0, 'ends in order')
  await start()
  t.same(readdirSync(join(dir, 'tmp')), [], 'nothing half-written is left after a start')
  t.doesNotThrow(() => storedIn(dir), 'every blob hashes to its name')
  for (const digest of image.blobs.keys()) t.equal(await pull(`/v2/app/blobs/${digest}`), digest)
}
