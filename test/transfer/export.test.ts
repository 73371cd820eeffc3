import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openIndex } from '../../src/cache/index/content-index.ts'
import { openStore } from '../../src/cache/store.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { exportImages } from '../../src/transfer/export.ts'
import { parseImage } from '../../src/transfer/image-name.ts'
import { importAll } from '../../src/transfer/import.ts'
import {
  blobOf,
  craneFiles,
  damaged,
  dockerFiles,
  documentOf,
  filesOf,
  layoutFiles,
  refName,
  sample,
  tarWith,
  type Files,
} from '../helpers/archives.ts'
import { inspectCache } from '../helpers/cache-folder.ts'

const image = await sample('export')
const { content, index, manifest } = image
const everyDigest = [...content.blobs.keys(), ...content.manifests.keys()].sort()
const large = manifest.layers.at(-1)?.digest as Digest
const sbom = [...content.manifests.keys()].find(
  (digest) => 'subject' in (documentOf(content, digest) as object),
) as Digest
const naming = { upstreams: ['docker.io', 'registry.local'], defaultUpstream: 'docker.io' }

/** A cache with the images of `files`, and ways out of it and in again. */
async function setUp(t: Test, ...files: Files[]) {
  const folder = t.testdir({})
  const dir = join(folder, 'cache')
  const intoCache = (paths: string[], cache = dir) => importAll(paths, { dir: cache, naming })
  for (const [at, archive] of files.entries()) {
    writeFileSync(join(folder, `${at}.tar`), await tarWith(archive))
    t.same((await intoCache([join(folder, `${at}.tar`)])).failed, [])
  }
  const file = join(folder, 'out.tar')
  const fromCache = (names: string[], to = file, more: { pieceSize?: number } = {}) =>
    exportImages(
      names.map((name) => parseImage(name, naming)),
      { dir, file: to, platform: 'linux/arm64', ...more },
    )
  return { folder, dir, file, intoCache, fromCache }
}

const withSbom = layoutFiles(content, [
  { digest: index, annotations: refName('app:1') },
  { digest: sbom },
])

t.test('out and in again: all platforms and referrers, the same digests', async (t) => {
  const { folder, dir, file, intoCache, fromCache } = await setUp(t, withSbom)
  const { exported, failed } = await fromCache(['app:1'])
  t.same(failed, [])
  t.match(exported, [{ digest: index, absent: [], related: [sbom] }])
  const again = join(folder, 'again')
  t.same((await intoCache([file], again)).failed, [])
  const { stored, tags } = inspectCache(again)
  t.same(stored, everyDigest)
  t.same({ stored, tags }, { stored: inspectCache(dir).stored, tags: inspectCache(dir).tags })
  const opened = openIndex(again)
  t.teardown(() => opened.close())
  t.same(opened.parentsOf(index, 'subject'), [sbom])
})

t.test('every kind of archive comes out with the digests it went in with', async (t) => {
  for (const files of [
    craneFiles(image, ['app:1']),
    dockerFiles(image, ['app:1']),
    layoutFiles(content, [{ digest: manifest.digest, annotations: refName('app:1') }]),
  ]) {
    const { folder, dir, file, intoCache, fromCache } = await setUp(t, files)
    t.same((await fromCache(['app:1'])).failed, [])
    const again = join(folder, 'again')
    await intoCache([file], again)
    t.same(inspectCache(again), inspectCache(dir))
    t.ok(inspectCache(again).stored.includes(manifest.config.digest))
  }
})

t.test('the same images make the same bytes', async (t) => {
  const { folder, file, fromCache } = await setUp(t, withSbom)
  await fromCache(['app:1'])
  await fromCache(['app:1'], join(folder, 'second.tar'))
  t.ok(readFileSync(file).equals(readFileSync(join(folder, 'second.tar'))))
  t.same(
    readdirSync(folder).filter((name) => name.endsWith('.partial')),
    [],
  )
})

t.test('docker’s manifest has the platform that was asked for', async (t) => {
  const { file, fromCache } = await setUp(t, withSbom)
  await fromCache(['app:1'])
  const entries = await filesOf(file)
  const [item] = JSON.parse(String(entries['manifest.json'])) as [
    { Config: string; RepoTags: string[]; Layers: string[] },
  ]
  t.same(item.RepoTags, ['docker.io/library/app:1'])
  t.match(JSON.parse(String(entries[item.Config])), { architecture: 'arm64' })
  for (const layer of item.Layers) t.ok(layer in entries)
})

t.test('by digest, several at once, and tags that are the same', async (t) => {
  const other = craneFiles(await sample('other'), ['other:1'])
  const { folder, file, intoCache, fromCache } = await setUp(t, withSbom, other)
  await fromCache([`app@${index}`, 'other:1'])
  const again = join(folder, 'again')
  t.same((await intoCache([file], again)).failed, [])
  t.same(Object.keys(inspectCache(again).tags), ['docker.io/library/other:1'])
  t.ok(inspectCache(again).links.includes(`docker.io/library/app@${index}`))

  await fromCache(['app:1', 'other:1'])
  const { manifests } = JSON.parse(String((await filesOf(file))['index.json'])) as {
    manifests: { annotations?: Record<string, string> }[]
  }
  const names = manifests.map(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'],
  )
  t.same(names, ['docker.io/library/app:1', undefined, 'docker.io/library/other:1'])
})

t.test('signatures by tag come along', async (t) => {
  const tag = index.replace(':', '-')
  const { folder, file, intoCache, fromCache } = await setUp(t, withSbom)
  const files = layoutFiles(content, [{ digest: sbom, annotations: refName(`app:${tag}.sig`) }])
  writeFileSync(join(folder, 'sig.tar'), await tarWith(files))
  await intoCache([join(folder, 'sig.tar')])
  t.match((await fromCache(['app:1'])).exported, [{ related: [sbom] }])
  const again = join(folder, 'again')
  await intoCache([file], again)
  t.equal(inspectCache(again).tags[`docker.io/library/app:${tag}.sig`], sbom)
})

t.test('a platform that is not whole is left out, and told', async (t) => {
  const { dir, file, folder, intoCache, fromCache } = await setUp(t, withSbom)
  const arm = (documentOf(content, index) as { manifests: { digest: Digest }[] }).manifests[1]
  const { layers } = documentOf(content, arm?.digest as Digest) as { layers: { digest: Digest }[] }
  await openStore(dir).remove(layers[0]?.digest as Digest)
  t.match((await fromCache(['app:1'])).exported, [{ absent: ['linux/arm64'] }])
  const { imported } = await intoCache([file], join(folder, 'again'))
  t.match(imported, [{ digest: index, absent: ['linux/arm64'] }])
})

t.test('what is not in the cache, not whole, or damaged: no file', async (t) => {
  const { folder, dir, file, fromCache } = await setUp(t, withSbom)
  t.match(await fromCache(['app:1', 'app:2']), {
    exported: [],
    failed: [{ message: 'docker.io/library/app:2 is not in the cache: pull it through' }],
  })
  const elsewhere = await fromCache([`registry.local/app@${index}`])
  t.match(elsewhere.failed, [{ message: /is not in the cache/ }], 'another repository’s digest')
  const store = openStore(dir)
  const path = store.pathOf(large)
  writeFileSync(path, damaged(blobOf(content, large)))
  for (const more of [{}, { pieceSize: 10_000 }]) {
    await t.rejects(fromCache(['app:1'], file, more), { message: /is damaged in the cache/ })
    const left = readdirSync(folder).filter((name) => name.startsWith('out.tar'))
    t.same(left, [], 'nothing is left, nor written any more')
  }
  await store.remove(large)
  t.match((await fromCache(['app:1'])).failed, [{ message: /not whole in the cache: every plat/ }])
  t.notOk(existsSync(file))
})

t.test('as a command', async (t) => {
  const { folder, file } = await setUp(t, withSbom)
  const main = join(import.meta.dirname, '../../src/main.ts')
  const config = join(folder, 'gateway.yaml')
  writeFileSync(
    config,
    'listen: { insecureHttp: true }\ncache: { dir: cache }\nupstreams: { docker.io: {} }\ndefaultUpstream: docker.io\n',
  )
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, 'export', ...args, '--config', config], { encoding: 'utf8' })
  const whole = run('app:1', '-o', file)
  t.match(whole, {
    status: 0,
    stdout: `docker.io/library/app:1 ${index} (1 referrers)\n`,
  })
  t.ok(existsSync(file))
  const json = run('app:1', '-o', file, '--json')
  t.match(JSON.parse(json.stdout), { exported: [{ name: 'docker.io/library/app:1' }], failed: [] })
  t.match(run('app:2', '-o', file), { status: 1, stderr: /app:2 is not in the cache/ })
  t.match(run('app:1', '-o', '/nowhere/out.tar'), { status: 1, stderr: /ENOENT/ })
  t.match(run('app:1'), { status: 2, stderr: /^-o: is missing/ })
  t.match(run('-o', file), { status: 2, stderr: /^IMAGE: is missing/ })
  t.match(run('nope.example/app', '-o', file), { status: 2, stderr: /there are docker\.io/ })
})
