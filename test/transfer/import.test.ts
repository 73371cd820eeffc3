import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { openIndex } from '../../src/cache/index/content-index.ts'
import { openStore } from '../../src/cache/store.ts'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { importAll, type ImportOptions } from '../../src/transfer/import.ts'
import {
  blobOf,
  craneFiles,
  damaged,
  dockerFiles,
  documentOf,
  json,
  layoutFiles,
  refName,
  sample,
  tarWith,
  type Files,
} from '../helpers/archives.ts'
import { inspectCache } from '../helpers/cache-folder.ts'

const image = await sample()
const { content, index, manifest } = image
const everyDigest = [...content.blobs.keys(), ...content.manifests.keys()].sort()
const imageDigests = [manifest.config, ...manifest.layers].map(({ digest }) => digest).sort()
const naming = { upstreams: ['docker.io', 'registry.local'], defaultUpstream: 'docker.io' }

/** A cache and a way to import into it; `put` writes a file or a folder of files beside it. */
function setUp(t: Test) {
  const folder = t.testdir({})
  const dir = join(folder, 'cache')
  const put = (name: string, what: Buffer | Files) => {
    const path = join(folder, name)
    const files = Buffer.isBuffer(what) ? { '': what } : what
    for (const [file, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(path, file)), { recursive: true })
      writeFileSync(join(path, file), bytes)
    }
    return path
  }
  const run = (path: string | string[], options: Partial<ImportOptions> = {}) =>
    importAll([path].flat(), { dir, naming, ...options })
  return { dir, put, run }
}

t.test('an OCI layout: folder, tar and tar.gz, every platform, digests kept', async (t) => {
  const files = layoutFiles(content, [{ digest: index, annotations: refName('app:1.0') }])
  const tar = await tarWith(files)
  for (const [name, what] of [
    ['layout', files],
    ['layout.tar', tar],
    ['layout.tar.gz', gzipSync(tar)],
  ] as const) {
    await t.test(name, async (t) => {
      const { dir, put, run } = setUp(t)
      const { imported, failed } = await run(put(name, what))
      t.same(failed, [])
      t.match(imported, [{ digest: index, absent: [] }])
      const { stored, tags, known, temporary } = inspectCache(dir)
      t.same(
        stored,
        everyDigest.filter((digest) => stored.includes(digest)),
      )
      t.same(known, stored)
      t.equal(stored.length, everyDigest.length - 3, 'all but the SBOM, its config and its blob')
      t.same(tags, { 'docker.io/library/app:1.0': index })
      t.same(temporary, [])
    })
  }
})

t.test('referrers come with the image they are about', async (t) => {
  const { dir, put, run } = setUp(t)
  const sbom = [...content.manifests.keys()].find(
    (digest) => 'subject' in (documentOf(content, digest) as object),
  ) as Digest
  const entries = [
    { digest: sbom },
    { digest: index, annotations: refName('registry.local/app:1') },
  ]
  const { imported } = await run(put('layout.tar', await tarWith(layoutFiles(content, entries))))
  t.equal(imported.length, 1)
  t.same(inspectCache(dir).stored, everyDigest)
  const opened = openIndex(dir)
  t.teardown(() => opened.close())
  t.same(opened.parentsOf(index, 'subject'), [sbom])
  t.same(opened.linkKinds({ upstream: 'registry.local', repository: 'app' }, sbom), ['manifest'])
})

t.test('a crane tar: layer and config digests are the registry’s own', async (t) => {
  const { dir, put, run } = setUp(t)
  const tar = put('crane.tar', await tarWith(craneFiles(image, ['localhost:5000/team/app:2'])))
  t.match((await run(tar)).failed, [{ message: /localhost:5000 is no upstream; there are docker/ }])
  const { imported } = await run(tar, { as: { upstream: 'registry.local' } })
  t.match(imported, [{ names: [{ upstream: 'registry.local', repository: 'team/app', tag: '2' }] }])
  const { stored, tags } = inspectCache(dir)
  t.same(Object.keys(tags), ['registry.local/team/app:2'])
  t.same(
    stored.filter((digest) => digest !== imported[0]?.digest),
    imageDigests,
  )
})

t.test('the extracted tree is named by its folders', async (t) => {
  const { put, run, dir } = setUp(t)
  put('images/appzygy/smallgo/v1.0.0', craneFiles(image, ['elsewhere:5000/x:y']))
  put('images/team/other/2', dockerFiles(await sample('another'), []))
  put('images/team/empty/1/README', Buffer.from('not an image'))
  const tree = join(t.testdirName, 'images')
  const { imported, failed } = await run(tree)
  t.same(
    imported.map(({ names }) => names[0]),
    [
      { upstream: 'docker.io', repository: 'appzygy/smallgo', tag: 'v1.0.0' },
      { upstream: 'docker.io', repository: 'team/other', tag: '2' },
    ],
  )
  t.match(failed, [{ entry: join(tree, 'team/empty/1'), message: /without manifest\.json/ }])
  const one = await run(join(tree, 'appzygy/smallgo/v1.0.0'), {
    as: { upstream: 'registry.local' },
  })
  t.match(one.imported, [{ names: [{ repository: 'appzygy/smallgo', tag: 'v1.0.0' }], written: 0 }])
  t.ok('registry.local/appzygy/smallgo:v1.0.0' in inspectCache(dir).tags)
})

t.test('docker save: bare layers are gzipped in the same way each time', async (t) => {
  const { dir, put, run } = setUp(t)
  const tar = put('saved.tar', await tarWith(dockerFiles(image, ['app:1', 'app:latest'])))
  const { imported, failed } = await run(tar)
  t.same(failed, [])
  const [made] = imported
  t.equal(made?.names.length, 2)
  const { stored, tags } = inspectCache(dir)
  t.same(new Set(Object.values(tags)), new Set([made?.digest]))
  t.ok(stored.includes(manifest.config.digest), 'the config is as it was')

  const store = openStore(dir)
  const bytes = readFileSync(store.pathOf(made?.digest as Digest))
  const { layers } = JSON.parse(bytes.toString()) as { layers: { digest: Digest; size: number }[] }
  for (const [position, layer] of layers.entries()) {
    const compressed = readFileSync(store.pathOf(layer.digest))
    const source = blobOf(content, manifest.layers[position]?.digest as Digest)
    t.equal(compressed.length, layer.size)
    t.ok(gunzipSync(compressed).equals(gunzipSync(source)))
    t.equal(compressed.readUInt32LE(4), 0, 'no time')
    t.equal(compressed.readUInt8(9), 255, 'no operating system')
  }
  await t.test('also in another cache, from another archive', async (t) => {
    const { put, run } = setUp(t)
    const tar = gzipSync(await tarWith(dockerFiles(image, ['other:3'])))
    t.equal((await run(put('saved.tar.gz', tar))).imported[0]?.digest, made?.digest)
  })
})

t.test('newer docker and ctr: the layout inside counts, RepoTags name it', async (t) => {
  const { put, run, dir } = setUp(t)
  const fullName = { 'io.containerd.image.name': 'docker.io/library/app:latest' }
  const annotations = { ...refName('latest'), ...fullName }
  const layout = layoutFiles(content, [{ digest: manifest.digest, annotations }])
  const path = (digest: Digest) => `blobs/sha256/${hexOf(digest)}`
  const docker = (tags: string[] | null) => ({
    'manifest.json': json([
      {
        Config: path(manifest.config.digest),
        RepoTags: tags,
        Layers: manifest.layers.map(({ digest }) => path(digest)),
      },
    ]),
  })
  const tar = put('ctr.tar', await tarWith({ ...layout, ...docker(null) }))
  t.match((await run(tar)).imported, [{ digest: manifest.digest, names: [{ tag: 'latest' }] }])
  const tagged = put('docker.tar', await tarWith({ ...layout, ...docker(['app:3', 'app:4']) }))
  t.match((await run(tagged)).imported, [{ digest: manifest.digest, written: 0 }])
  t.same(Object.keys(inspectCache(dir).tags), [
    'docker.io/library/app:3',
    'docker.io/library/app:4',
    'docker.io/library/app:latest',
  ])
})

t.test('links inside a tar are followed', async (t) => {
  const { put, run } = setUp(t)
  const files = Object.entries(craneFiles(image, ['app:1'])).flatMap(
    ([name, bytes]): [string, Buffer | string][] =>
      name.endsWith('.tar.gz')
        ? [
            [`real/${name}`, bytes],
            [name, `real/${name}`],
          ]
        : [[name, bytes]],
  )
  const { failed, imported } = await run(put('a.tar', await tarWith(Object.fromEntries(files))))
  t.same(failed, [])
  t.equal(imported.length, 1)
})

t.test('an index of which the archive holds one platform', async (t) => {
  const { put, run, dir } = setUp(t)
  const { manifests } = documentOf(content, index) as { manifests: { digest: Digest }[] }
  const files = layoutFiles(content, [{ digest: index, annotations: refName('app:1') }])
  delete files[`blobs/sha256/${hexOf(manifests[1]?.digest as Digest)}`]
  const { imported } = await run(put('sparse.tar', await tarWith(files)))
  t.match(imported, [{ digest: index, absent: ['linux/arm64'] }])
  t.ok(inspectCache(dir).stored.includes(manifest.digest))
})

t.test('what is there is not written again; what is damaged is', async (t) => {
  const { put, run, dir } = setUp(t)
  const files = layoutFiles(content, [{ digest: index, annotations: refName('app:1') }])
  const tar = put('app.tar', await tarWith(files))
  const store = openStore(dir)
  const large = manifest.layers.at(-1)?.digest as Digest
  const writer = await store.create(large)
  await writer.append(blobOf(content, large))
  await writer.commit()
  const before = statSync(store.pathOf(large))

  const first = await run(tar)
  t.equal(statSync(store.pathOf(large)).ino, before.ino, 'of an import that was ended')
  t.ok((first.imported[0]?.written ?? 0) < 20_000)
  t.match((await run(tar)).imported, [{ written: 0 }])

  writeFileSync(store.pathOf(large), damaged(blobOf(content, large)))
  t.match((await run(tar)).imported, [{ written: blobOf(content, large).length }])
  t.ok(inspectCache(dir).stored.includes(large))
})

t.test('an import beside another process shows in its index', async (t) => {
  const { put, run, dir } = setUp(t)
  openStore(dir)
  const gateway = openIndex(dir)
  t.teardown(() => gateway.close())
  t.notOk(gateway.hasChanged())
  await run(put('a.tar', await tarWith(craneFiles(image, ['app:1']))))
  t.ok(gateway.hasChanged())
  const place = { upstream: 'docker.io', repository: 'library/app' }
  const tag = gateway.tag(place, '1')
  t.same(gateway.linkKinds(place, tag?.digest as Digest), ['manifest'])
  t.same(gateway.linkKinds(place, manifest.config.digest), ['blob'])
})

t.test('progress: what is read, and one end', async (t) => {
  const { put, run } = setUp(t)
  const bars: { label: string; bytes: number; done: number; ended: number }[] = []
  await run(put('a.tar', await tarWith(dockerFiles(image, ['app:1']))), {
    onImage(label, bytes) {
      const bar = { label, bytes, done: 0, ended: 0 }
      bars.push(bar)
      return { advance: (n) => void (bar.done += n), end: () => void (bar.ended += 1) }
    },
  })
  t.match(bars, [{ label: 'app:1', ended: 1 }])
  t.ok((bars[0]?.done ?? 0) >= (bars[0]?.bytes ?? Infinity))
})

t.test('two images of one name: the second is refused', async (t) => {
  const { put, run, dir } = setUp(t)
  const one = put('1.tar', await tarWith(craneFiles(image, ['app:1'])))
  const two = put('2.tar', await tarWith(craneFiles(await sample('two'), ['app:1'])))
  const { imported, failed } = await run([one, two])
  t.match(failed, [{ path: two, message: /would be docker\.io\/library\/app:1/ }])
  t.same(inspectCache(dir).tags, { 'docker.io/library/app:1': imported[0]?.digest })
  t.equal(inspectCache(dir).stored.length, 5, 'of the second nothing is left')
})

t.test('a zstd layer is kept as it is', async (t) => {
  const { put, run, dir } = setUp(t)
  const layer = gunzipSync(blobOf(content, manifest.layers[0]?.digest as Digest))
  const compressed = zstdCompressSync(layer)
  const files = {
    'config.json': json({ rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } }),
    'layer.tar.zst': compressed,
    'manifest.json': json([
      { Config: 'config.json', RepoTags: ['app:1'], Layers: ['layer.tar.zst'] },
    ]),
  }
  t.same((await run(put('a.tar', await tarWith(files)))).failed, [])
  t.ok(inspectCache(dir).stored.includes(digestOf(compressed)))
})
