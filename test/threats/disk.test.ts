// Threats by what lies on the disk: bits that rotted, folders of somebody else.
import { existsSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startGateway } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { UsageError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { recordingLog } from '../helpers/listener.ts'
import { layer, layerPath, startSite, threat, type Site } from './site.ts'

/** Where the layer lies, once it is stored. */
async function storedLayer({ folder }: Site): Promise<string> {
  const hex = layer.digest.slice('sha256:'.length)
  const file = join(folder, 'cache/blobs/sha256', hex.slice(0, 2), hex)
  for (let turn = 0; turn < 500 && !existsSync(file); turn += 1) await sleep(10)
  return file
}

threat('bits that rotted on disk', async (t) => {
  const site = await startSite(t, { cache: 'verifyEvery: 0s' })
  t.equal(digestOf((await site.send(layerPath)).body), layer.digest)
  const file = await storedLayer(site)
  const { atime, mtime } = statSync(file)
  const bytes = readFileSync(file)
  bytes[500_000] = (bytes[500_000] ?? 0) ^ 1
  writeFileSync(file, bytes)
  utimesSync(file, atime, mtime)
  let whole = 0
  for (let turn = 0; turn < 10 && whole < 2; turn += 1) {
    // An answer that breaks off is one way to hold; the right bytes after all are the other.
    const answer = await site.send(layerPath).catch(() => undefined)
    if (answer === undefined) continue
    whole += 1
    t.equal(digestOf(answer.body), layer.digest, 'what is whole is right')
  }
  t.equal(whole, 2, 'it is fetched anew')
  t.ok((await site.metric('portcullis_cache_events_total')) > 0, 'and told')
})

threat('bits that rotted where nobody reads', async (t) => {
  const site = await startSite(t)
  t.equal(digestOf((await site.send(layerPath)).body), layer.digest)
  const file = await storedLayer(site)
  while ((await site.metric('portcullis_fills_in_flight')) > 0) await sleep(10)
  // What has just come is opened for those who come next.
  t.equal(digestOf((await site.send(layerPath)).body), layer.digest)
  const { atime, mtime } = statSync(file)
  const bytes = readFileSync(file)
  bytes[500_000] = (bytes[500_000] ?? 0) ^ 1
  writeFileSync(file, bytes)
  utimesSync(file, atime, mtime)
  const state = async (method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${site.adminPort}/api/v1/verify`, { method })
    return (await response.json()) as { isRunning: boolean; findings: { name: string }[] }
  }
  let { isRunning, findings } = await state('POST')
  while (isRunning) ({ isRunning, findings } = await state())
  t.match(findings, [{ name: layer.digest, flaw: 'wrong' }])
  t.notOk(existsSync(file), 'taken out of the way')
  t.equal(digestOf((await site.send(layerPath)).body), layer.digest, 'and fetched anew')
})

threat('a cache folder that belongs to somebody else', async (t) => {
  const dir = t.testdir({ var: { tmp: { 'of-others': 'kept' }, log: { syslog: 'kept' } } })
  const folder = join(dir, 'var')
  const file = join(dir, 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { insecureHttp: true, host: 127.0.0.1, port: 0 }
admin: { port: 0 }
cache: { dir: '${folder}' }
upstreams: { registry.test: { url: 'http://127.0.0.1:9' } }
`,
  )
  const { log } = recordingLog()
  await t.rejects(async () => startGateway(await loadConfig(file), { log }), UsageError)
  t.equal(readFileSync(join(folder, 'tmp/of-others'), 'utf8'), 'kept')
  t.equal(readFileSync(join(folder, 'log/syslog'), 'utf8'), 'kept')
})
