// `portcullis prune --shared` on a real object store.
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { app, startSite, until } from '../../helpers/cache.ts'
import { runCommand } from '../../helpers/command.ts'
import { pull } from '../../helpers/images.ts'
import { startObjectStore, withObjectStore } from '../../helpers/object-store.ts'

const options = { ...withObjectStore(), timeout: 120_000 }

/** A bucket with one image that is three days old. */
async function startOld(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const store = await startObjectStore(t, join(folder, 'store'))
  const image = await buildSampleImage({ layerBytes: 3_000_000 })
  const { open } = await startSite(t, { image })
  const cache = open({ dir: join(folder, 'replica'), remote: await store.open() })
  await pull(cache, app, '1.0')
  await until(() => cache.sharedWaiting?.() === 0, 'all is written')
  await cache.close()
  const files = () =>
    readdirSync(store.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
  const then = new Date(Date.now() - 3 * 86_400_000)
  for (const file of files()) utimesSync(file, then, then)
  const config = join(folder, 'gateway.yaml')
  const { endpoint, bucket } = store.config
  writeFileSync(
    config,
    `listen: { tls: { clientAuth: none, cert: a, key: b } }
cache: { dir: none, shared: { s3: { endpoint: '${endpoint}', bucket: ${bucket}, pathStyle: true } } }
upstreams: { registry.test: {} }
`,
  )
  const run = async (...args: string[]) =>
    runCommand(['prune', '--shared', ...args, '--config', config], { env: process.env })
  return { store, files, run }
}

t.test('says what would go, takes it out, and leaves nothing', options, async (t) => {
  const { files, run } = await startOld(t)
  const before = files().length
  const planned = await run('--older-than', '2d', '--dry-run')
  t.equal(planned.status, 0, planned.stderr)
  t.match(
    planned.stdout,
    /registry\.test\/app:1\.0 \(\d+\.\d MiB\)\n.*1 would go, which would free/s,
  )
  t.equal(files().length, before)
  t.match((await run('--not-pulled-for', '4d', '--dry-run', '--json')).stdout, /"removed": \[\]/)
  const { status, stdout, stderr } = await run('--older-than', '2d', '--json')
  t.equal(status, 0, stderr)
  const { removed, left } = JSON.parse(stdout) as {
    removed: { names: string[] }[]
    left: { bytes: number }
  }
  t.same(
    removed.flatMap(({ names }) => names),
    ['registry.test/app:1.0'],
  )
  t.equal(left.bytes, 0)
  t.match(
    files()
      .map((file) => file.replace(/^.*\/portcullis\//, ''))
      .sort(),
    ['format', 'pruning', /^repositories\/registry\.test\/app\/_pruned\/\d+-0$/],
  )
})

t.test('says what is wrong', options, async (t) => {
  const { run, store } = await startOld(t)
  const refused = await run('--not-pulled-for', '1d')
  t.equal(refused.status, 2)
  t.match(
    refused.stderr,
    /--not-pulled-for: replicas tell the store of pulls once a day: 2d or more/,
  )
  t.match((await run()).stderr, /say what is to go/)
  t.match((await run('--older-than', 'long')).stderr, /^--older-than: /)
  store.way('cut')
  const away = await run('--older-than', '2d')
  t.equal(away.status, 1)
  t.match(away.stderr, /cache\.shared\.s3\.endpoint: the store cannot be reached/)
})
