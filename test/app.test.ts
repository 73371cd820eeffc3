// The gateway as a whole: what a reload replaces while it runs, and how it ends.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startGateway } from '../src/app.ts'
import { loadConfig } from '../src/config/load.ts'
import { buildSampleImage } from '../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../src/oci/digest.ts'
import { startTestGateway, type TestGateway } from './helpers/gateway.ts'
import { countDescriptors } from './helpers/limits.ts'
import { recordingLog } from './helpers/listener.ts'
import { problemsOf } from './helpers/problems.ts'
import { testPki } from './helpers/tls.ts'
import * as faults from './helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1_000_000 })
const [large] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [Digest, Buffer]
const pki = await testPki()
const path = '/v2/app/manifests/1.0'

/** In front of an upstream that lets in only who has the right client certificate. */
async function start(t: Test, more = '') {
  const upstream = await faults.startUpstream(t, {
    repositories: { app: image },
    tls: {
      cert: pki.server.certificatePem,
      key: pki.server.keyPem,
      ca: pki.ca.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
    },
  })
  const url = upstream.url.replace('127.0.0.1', 'localhost')
  const gateway = await startTestGateway(
    t,
    `upstreams:
  registry.test: { url: '${url}', tagTtl: 0s, tls: { ca: ca.crt, cert: up.crt, key: up.key } }
defaultUpstream: registry.test
${more}`,
    { files: { 'up.crt': pki.client.certificatePem, 'up.key': pki.client.keyPem } },
  )
  return { upstream, ...gateway }
}

function edit({ folder }: TestGateway, change: (yaml: string) => string): void {
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

t.test('a changed policy takes effect without a restart, and the cache stays', async (t) => {
  const gateway = await start(t)
  const { send, reload, upstream } = gateway
  t.equal((await send(path)).status, 200)
  const byDigest = `/v2/app/manifests/${image.tags.get('1.0')}`
  edit(gateway, (yaml) => `${yaml}policy: { default: deny }\n`)
  t.equal(await reload(), true)
  t.equal((await send(path)).status, 403)
  edit(gateway, (yaml) => yaml.replace('default: deny', 'default: allow'))
  t.equal(await reload(), true)
  const asked = upstream.requests.length
  t.equal((await send(byDigest)).status, 200)
  t.equal(upstream.requests.length, asked, 'what was cached is cached still')
})

t.test('a change of the file is noticed by itself', async (t) => {
  const gateway = await start(t)
  edit(gateway, (yaml) => `${yaml}policy: { default: deny }\n`)
  while (!gateway.lines.some(({ msg }) => msg === 'reloaded')) await setTimeout(20)
  t.equal((await gateway.send(path)).status, 403)
})

t.test('what is wrong, or cannot change, is refused as a whole', async (t) => {
  const gateway = await start(t)
  const problems = () => gateway.lines.findLast(({ msg }) => /reload refused/.test(String(msg)))
  edit(gateway, (yaml) => `${yaml}polcy: {}\n`)
  t.equal(await gateway.reload(), false)
  t.match(problems(), { part: 'config', problems: [{ path: 'polcy' }] })
  edit(gateway, (yaml) => yaml.replace('polcy: {}', 'policy: { default: deny }'))
  edit(gateway, (yaml) => yaml.replace('dir: cache', 'dir: elsewhere'))
  t.equal(await gateway.reload(), false)
  t.match(problems(), { problems: [{ path: 'cache', message: /restart/ }] })
  t.equal((await gateway.send(path)).status, 200, 'what was in use is in use')
})

t.test('a new client pair for the upstream is used by new connections', async (t) => {
  const gateway = await start(t)
  const { folder, send, reload, upstream } = gateway
  t.equal((await send(path)).status, 200)
  t.equal(upstream.requests.at(-1)?.peerSubject, 'CN=client')
  writeFileSync(join(folder, 'up.crt'), pki.otherClient.certificatePem)
  writeFileSync(join(folder, 'up.key'), pki.otherClient.keyPem)
  t.equal(await reload(), true)
  const refused = await send('/v2/app/manifests/latest')
  t.equal(refused.status, 502, 'the upstream refuses the new one')
  writeFileSync(join(folder, 'up.key'), pki.client.keyPem)
  t.equal(await reload(), false, 'half of a pair')
  writeFileSync(join(folder, 'up.crt'), pki.client.certificatePem)
  t.equal(await reload(), true)
  t.equal((await send('/v2/app/manifests/latest')).status, 200)
})

t.test('a download goes on over a reload', async (t) => {
  const gate = faults.gate()
  const { send, reload, upstream, ...rest } = await start(t)
  upstream.fail(faults.on(/blobs/, gate.fault))
  const pulled = send(`/v2/app/blobs/${large}`)
  await gate.held(1)
  edit({ ...rest, send, reload }, (yaml) => `${yaml}audit: { tagPulls: true }\n`)
  t.equal(await reload(), true)
  gate.open()
  t.equal(digestOf((await pulled).body), large)
  await send(path)
  t.match(
    rest.lines.find(({ audit }) => audit === 'tag'),
    { who: 'CN=client', repository: 'registry.test/app', tag: '1.0' },
  )
})

/** `portcullis serve` without TLS, as a process of its own. */
interface ServeOptions {
  url: string
  grace?: string
  /** Keys of the upstream. */
  more?: string
}

async function serve(t: Test, { url, grace = '25s', more = '' }: ServeOptions) {
  const started = startServing(t, { url, grace, more })
  const { told, output } = started
  await told('"listening"')
  return { ...started, port: Number(/"port":(\d+)/.exec(output())?.[1]) }
}

function startServing(t: Test, { url, grace, more }: Required<ServeOptions>) {
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true, host: 127.0.0.1, port: 0, grace: ${grace} }
admin: { port: 0 }
cache: { dir: cache }
upstreams: { registry.test: { url: '${url}', ${more} } }
defaultUpstream: registry.test
`,
  })
  const main = join(import.meta.dirname, '../src/main.ts')
  const child = spawn(process.execPath, [main, 'serve', '--config', join(folder, 'gateway.yaml')])
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const told = async (text: string) => {
    while (!output.includes(text)) await once(child.stdout, 'data')
  }
  return { folder, child, told, output: () => output }
}

t.test('what cannot start lets go of its cache', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': '' })
  const file = join(folder, 'gateway.yaml')
  const startWith = async (cert: string) => {
    writeFileSync(
      file,
      `listen: { port: 0, tls: { cert: ${cert}, key: server.key } }
admin: { port: 0 }
cache: { dir: cache }`,
    )
    return startGateway(await loadConfig(file), { log: recordingLog().log })
  }
  writeFileSync(join(folder, 'server.key'), pki.server.keyPem)
  writeFileSync(join(folder, 'server.crt'), pki.server.certificatePem)
  writeFileSync(join(folder, 'other.crt'), pki.client.certificatePem)
  const working = await startWith('server.crt')
  await working.close(0)
  const before = countDescriptors()
  t.match(await problemsOf(startWith('other.crt')), [{ path: 'listen.tls.key' }])
  t.equal(countDescriptors(), before)
})

t.test('serve reloads at SIGHUP, and ends in order at SIGTERM', async (t) => {
  const { child, told, output } = await serve(t, { url: 'http://127.0.0.1:9' })
  child.kill('SIGHUP')
  await told('"reloaded"')
  child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number]
  t.equal(code, 0)
  t.match(output(), '"msg":"ended"')
})

t.test('a signal while serve starts ends it in order', async (t) => {
  const more = 'auth: { username: robot, passwordFile: password }'
  const options = { url: 'http://127.0.0.1:9', grace: '1s', more }
  const { folder, child, output } = startServing(t, options)
  const file = join(folder, 'password')
  execFileSync('mkfifo', [file])
  // Opened as soon as the start reads it, which waits for what is written.
  const pipe = await open(file, 'w')
  child.kill('SIGHUP')
  child.kill('SIGTERM')
  rmSync(file)
  writeFileSync(file, 'secret')
  await pipe.writeFile('secret')
  await pipe.close()
  t.same(await once(child, 'exit'), [0, null])
  t.match(output(), '"msg":"ended"')
})

t.test('serve ends with 1 and a number where its grace has cut transfers', async (t) => {
  const upstream = await faults.startUpstream(t, {
    repositories: { app: image },
    faults: [faults.on(/blobs/, faults.stallAfter(1000))],
  })
  const { child, output, port } = await serve(t, { url: upstream.url, grace: '300ms' })
  const requests = ['GET /v2/', `GET /v2/app/blobs/${large}`].map((line) => {
    const client = connect(port, '127.0.0.1')
    client.on('error', () => undefined)
    client.write(`${line} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    return once(client, 'readable')
  })
  await Promise.all(requests)
  child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number]
  t.equal(code, 1)
  t.match(output(), /"cut":1,"msg":"ended: transfers were cut/)
})

t.test('who may use the admin listener, where a rule is about it', async (t) => {
  const gateway = await start(t)
  const status = async (at: string) =>
    (await fetch(`http://127.0.0.1:${gateway.adminPort}${at}`)).status
  t.equal(await status('/metrics'), 200, 'everybody, without such a rule')
  edit(gateway, (yaml) => `${yaml}policy: { rules: [{ who: { cn: ops }, actions: [admin] }] }\n`)
  t.equal(await gateway.reload(), true)
  t.equal(await status('/metrics'), 403)
  t.equal(await status('/docs/'), 403)
  t.equal(await status('/readyz'), 200, 'probes have no certificate')
  t.equal(await status('/healthz?verbose'), 200)
  t.equal(await status('/healthz/../metrics'), 403)
  t.match(
    gateway.lines.findLast(({ msg }) => msg === 'audit'),
    { action: 'admin:read', who: 'anonymous', reason: 'policy' },
  )
  t.equal((await gateway.send(path)).status, 200, 'pulls go by the default still')
  edit(gateway, (yaml) => yaml.replace('cn: ops', 'anonymous: true'))
  t.equal(await gateway.reload(), true)
  t.equal(await status('/metrics'), 200)
  const verify = async () =>
    (await fetch(`http://127.0.0.1:${gateway.adminPort}/api/v1/verify`, { method: 'POST' })).status
  t.equal(await verify(), 202)
  edit(gateway, (yaml) => yaml.replace('[admin]', "['admin:read']"))
  t.equal(await gateway.reload(), true)
  t.equal(await status('/api/v1/images'), 200)
  t.equal(await verify(), 403)
  edit(gateway, (yaml) => yaml.replace('admin:read', 'admin:write'))
  t.equal(await gateway.reload(), true)
  t.equal(await status('/api/v1/images'), 403)
  t.equal(await verify(), 202)
})
