// A gateway with a store of its config: what it serves, and what is said of a store that cannot be used.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { judgeSharedStore, openSharedStore } from '../../../src/transfer/shared/store.ts'
import { until } from '../../helpers/cache.ts'
import { startTestGateway } from '../../helpers/gateway.ts'
import { startObjectStore, withObjectStore } from '../../helpers/object-store.ts'
import { recordingLog } from '../../helpers/listener.ts'
import { startUpstream } from '../../helpers/upstream.ts'

const options = withObjectStore()
t.setTimeout(120_000)

async function startStore(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const store = await startObjectStore(t, join(folder, 'store'))
  const section = (changes = '', required = false) =>
    `shared: { required: ${required}, s3: { endpoint: '${store.config.endpoint}', bucket: images, pathStyle: true, ${changes} } }`
  const configOf = async (changes: string, required = false) => {
    const file = join(folder, 'gateway.yaml')
    writeFileSync(
      file,
      `listen: { insecureHttp: true }\ncache: { dir: cache, ${section(changes, required)} }\n`,
    )
    return loadConfig(file)
  }
  return { store, section, configOf }
}

t.test('a gateway serves what another has put there', options, async (t) => {
  const { section } = await startStore(t)
  const image = await buildSampleImage({ layerBytes: 3_000_000 })
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const yaml = `upstreams: { registry.test: { url: '${upstream.url}' } }`
  const first = await startTestGateway(t, yaml, { cache: section() })
  const [digest] = image.blobs.keys()
  const paths = ['manifests/latest', `blobs/${digest}`].map(
    (path) => `/v2/registry.test/app/${path}`,
  )
  const before = []
  for (const path of paths) before.push(await first.send(path))
  const metric = async () => (await fetch(`http://127.0.0.1:${first.adminPort}/metrics`)).text()
  for (let text = ''; !text.includes('portcullis_shared_waiting_objects 0\n');) {
    text = await metric()
  }
  t.match(await metric(), /portcullis_shared_requests_total\{part="write",result="ok"\} [1-9]/)

  await upstream.close()
  const second = await startTestGateway(t, yaml, { cache: section() })
  for (const [index, path] of paths.entries()) {
    const { status, body } = await second.send(path)
    t.equal(status, 200, path)
    t.ok(before[index]?.body.equals(body))
  }
})

t.test('a bucket that is not there: the gateway serves, and says which key', options, async (t) => {
  const { section, configOf } = await startStore(t)
  const wrong = 'bucket: another'
  t.equal(await judgeSharedStore(await configOf('prefix: p')), undefined)
  const image = await buildSampleImage({ layerBytes: 50_000 })
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }`,
    { cache: section().replace('bucket: images', wrong) },
  )
  t.equal((await gateway.send('/v2/registry.test/app/manifests/latest')).status, 200)
  await until(() => gateway.lines.some(({ key }) => key === 'cache.shared.s3.bucket'))
  const ready = await fetch(`http://127.0.0.1:${gateway.adminPort}/readyz`)
  t.equal(ready.status, 200)
  t.match(await ready.text(), /there is no bucket another/)
})

t.test('a store that is required and away ends the start', options, async (t) => {
  const { store, configOf } = await startStore(t)
  const { log, lines } = recordingLog()
  store.way('cut')
  const path = 'cache.shared.s3.endpoint'
  t.match(await judgeSharedStore(await configOf('')), { path })
  await t.rejects(openSharedStore(await configOf('', true), log), {
    message: /cache\.shared\.s3\.endpoint: the store cannot be reached/,
  })
  const unneeded = await openSharedStore(await configOf(''), log)
  unneeded?.close()
  t.same(lines, [])
})

t.test('a store whose certificate is not checked is told of', async (t) => {
  const gateway = await startTestGateway(t, 'upstreams: {}\n', {
    cache:
      "shared: { s3: { endpoint: 'https://127.0.0.1:9', bucket: images, tls: { verify: false } } }",
  })
  t.match(
    gateway.lines.filter(({ msg }) => /INSECURE/.test(String(msg))),
    [{ level: 40, msg: /INSECURE: cache\.shared\.s3\.tls\.verify is false/ }],
  )
})
