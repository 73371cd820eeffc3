// What must not get in: each is named by its entry, and nothing of the image stays.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createGzip, gunzipSync, gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Header } from 'tar-stream'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { importAll } from '../../src/transfer/import.ts'
import {
  blobOf,
  craneFiles,
  damaged,
  dockerFiles,
  json,
  layoutFiles,
  refName,
  sample,
  tarWith,
  type Files,
} from '../helpers/archives.ts'
import { inspectCache } from '../helpers/cache-folder.ts'

const image = await sample('bad input')
const { content, index, manifest } = image
const large = manifest.layers.at(-1)?.digest as Digest
const largeHex = hexOf(large)
const crane = craneFiles(image, ['app:1'])
const saved = dockerFiles(image, ['app:1'])
const layout = layoutFiles(content, [{ digest: index, annotations: refName('app:1') }])

async function importOne(t: Test, archive: Buffer) {
  const folder = t.testdir({ 'bad.tar': archive })
  return importPath(folder, join(folder, 'bad.tar'))
}

async function importPath(folder: string, path: string) {
  const dir = join(folder, 'cache')
  const naming = { upstreams: ['docker.io'], defaultUpstream: 'docker.io' }
  const summary = await importAll([path], { dir, naming })
  return { ...summary, cache: inspectCache(dir) }
}

const nothing = { stored: [], known: [], links: [], tags: {}, temporary: [] }

function withoutEntry(files: Files, entry: string): Files {
  return Object.fromEntries(Object.entries(files).filter(([name]) => name !== entry))
}

/** A header block whose fields are changed and its checksum corrected. */
function edited(tar: Buffer, name: string, edit: (header: Buffer) => void): Buffer {
  const copy = Buffer.from(tar)
  const at = copy.indexOf(`${name}\0`)
  const header = copy.subarray(at, at + 512)
  edit(header)
  header.fill(' ', 148, 156)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return copy
}

const headers: [string, Partial<Header>, RegExp][] = [
  ['a name with ..', { name: 'a/../../etc/passwd' }, /a\/\.\.\/\.\.\/etc\/passwd: has a name with/],
  ['an absolute name', { name: '/etc/passwd' }, /\/etc\/passwd: has an absolute name/],
  ['a backslash', { name: '..\\evil' }, /evil: has a backslash/],
  ['a device', { name: 'sda', type: 'block-device' }, /sda: is a block-device/],
  ['a character device', { name: 'tty', type: 'character-device' }, /tty: is a character-device/],
  ['a pipe', { name: 'pipe', type: 'fifo' }, /pipe: is a fifo/],
  [
    'a symbolic link that leaves',
    { name: 'a/link', type: 'symlink', linkname: '../../etc/passwd' },
    /a\/link: is a link that leaves the archive/,
  ],
  [
    'an absolute link',
    { name: 'link', type: 'symlink', linkname: '/etc/passwd' },
    /link: is a link that leaves the archive/,
  ],
  [
    'a hard link that leaves',
    { name: 'a/link', type: 'link', linkname: '../etc/passwd' },
    /a\/link: is a link that leaves the archive/,
  ],
  ['a name that is there twice', { name: 'manifest.json' }, /manifest\.json: is there twice/],
]

for (const [what, header, expected] of headers) {
  t.test(what, async (t) => {
    const { failed, imported, cache } = await importOne(t, await tarWith(crane, [header]))
    t.match(failed, [{ message: expected }])
    t.same(imported, [])
    t.same(cache, nothing)
  })
}

/** Archives that are tars, but not of an image that could be right. */
const contents: [string, Files, RegExp][] = [
  [
    'crane: a layer that is missing',
    withoutEntry(crane, `${largeHex}.tar.gz`),
    new RegExp(`${largeHex}\\.tar\\.gz: is missing`),
  ],
  [
    'crane: a layer that does not match its digest',
    {
      ...crane,
      [`${largeHex}.tar.gz`]: gzipSync(gunzipSync(blobOf(content, large)), { level: 9 }),
    },
    new RegExp(`${largeHex}\\.tar\\.gz: does not hash to ${large}`),
  ],
  [
    'crane: a layer that is cut off',
    { ...crane, [`${largeHex}.tar.gz`]: blobOf(content, large).subarray(0, 100_000) },
    new RegExp(`${largeHex}\\.tar\\.gz: is no whole gzip file`),
  ],
  [
    'crane: a config that does not match its digest',
    { ...crane, [manifest.config.digest]: json({ rootfs: { diff_ids: [] } }) },
    new RegExp(`${manifest.config.digest}: hashes to sha256:`),
  ],
  [
    'docker: a layer that does not match the config',
    Object.fromEntries(
      Object.entries(saved).map(([name, bytes]) => [
        name,
        name.endsWith('layer.tar') && bytes.length > 100_000 ? damaged(bytes as Buffer) : bytes,
      ]),
    ),
    /layer\.tar: has content of sha256:[0-9a-f]{64}, but the config says/,
  ],
  [
    'docker: a config that is no JSON',
    {
      'c.json': Buffer.from('{'),
      'manifest.json': json([{ Config: 'c.json', RepoTags: ['app:1'], Layers: [] }]),
    },
    /c\.json: is no JSON/,
  ],
  [
    'docker: a config of another number of layers',
    {
      'c.json': json({ rootfs: { type: 'layers', diff_ids: [] } }),
      'l.tar': Buffer.from('layer'),
      'manifest.json': json([{ Config: 'c.json', Layers: ['l.tar'], RepoTags: ['app:1'] }]),
    },
    /c\.json: names 0 layers, but manifest\.json 1/,
  ],
  [
    'docker: a manifest.json that is no JSON',
    { ...saved, 'manifest.json': Buffer.from('[') },
    /manifest\.json: is no JSON/,
  ],
  [
    'docker: a manifest.json of another shape',
    { ...saved, 'manifest.json': json([{ Config: 7 }]) },
    /manifest\.json: is not what it should be/,
  ],
  [
    'OCI: a digest that is none',
    {
      ...layout,
      'index.json': json({
        schemaVersion: 2,
        manifests: [{ mediaType: 'a/b', digest: 'sha256:..', size: 1 }],
      }),
    },
    /index\.json: is not what it should be: \/manifests\/0\/digest must be a digest/,
  ],
  [
    'OCI: a layer that is missing',
    withoutEntry(layout, `blobs/sha256/${largeHex}`),
    new RegExp(`blobs/sha256/${largeHex}: is missing`),
  ],
  [
    'OCI: a layer that does not match its digest',
    { ...layout, [`blobs/sha256/${largeHex}`]: damaged(blobOf(content, large)) },
    new RegExp(`blobs/sha256/${largeHex}: does not hash to`),
  ],
  [
    'OCI: a layer of another size than the manifest says',
    { ...layout, [`blobs/sha256/${largeHex}`]: Buffer.alloc(7) },
    new RegExp(`blobs/sha256/${largeHex}: has 7 bytes, but blobs/sha256/.* says`),
  ],
  [
    'OCI: a manifest that does not match its digest',
    {
      ...layout,
      [`blobs/sha256/${hexOf(manifest.digest)}`]: damaged(
        content.manifests.get(manifest.digest)?.bytes ?? Buffer.alloc(0),
      ),
    },
    new RegExp(`blobs/sha256/${hexOf(manifest.digest)}: hashes to`),
  ],
  [
    'OCI: an index.json that is missing',
    withoutEntry(layout, 'index.json'),
    /index\.json: is missing/,
  ],
  [
    'OCI: an image without a name',
    layoutFiles(content, [{ digest: index }]),
    /has no name: say where it belongs with --as/,
  ],
  ['OCI: a layout of nothing', layoutFiles(content, []), /bad\.tar: holds no image/],
  ['no image at all', { 'notes.txt': Buffer.from('x') }, /manifest\.json: is missing, and so is/],
]

for (const [what, files, expected] of contents) {
  t.test(what, async (t) => {
    const { failed, imported, cache } = await importOne(t, await tarWith(files))
    t.match(failed, [{ message: expected }])
    t.same(imported, [])
    t.same(cache, nothing)
  })
}

t.test('OCI: a config that is no JSON', async (t) => {
  const config = Buffer.from('not JSON')
  const blobs = new Map([[digestOf(config), config]])
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const bytes = json({
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(config),
      size: config.length,
    },
    layers: [],
  })
  const manifests = new Map([[digestOf(bytes), { mediaType, bytes }]])
  const entries = [{ digest: digestOf(bytes), annotations: refName('app:1') }]
  const files = layoutFiles({ blobs, manifests, tags: new Map() }, entries)
  const { failed, cache } = await importOne(t, await tarWith(files))
  t.match(failed, [{ message: /is a config, but no JSON/ }])
  t.same(cache, nothing)
})

t.test('a size that lies', async (t) => {
  const name = `${largeHex}.tar.gz`
  const tar = await tarWith(crane)
  const octal = (size: number) => (header: Buffer) =>
    void header.write(`${size.toString(8).padStart(11, '0')} `, 124, 'latin1')
  const tooLarge = await importOne(t, edited(tar, name, octal(8 ** 10)))
  t.match(tooLarge.failed, [{ entry: name, message: /claims 1073741824 bytes/ }])
  t.same(tooLarge.cache, nothing)
  const tooSmall = await importOne(t, edited(tar, name, octal(1000)))
  t.match(tooSmall.failed, [{ message: /breaks off or is damaged here/ }])
  t.same(tooSmall.cache, nothing)
})

t.test('a tar that is cut off, is empty, or is none', async (t) => {
  const tar = await tarWith(crane)
  for (const [bytes, expected] of [
    [tar.subarray(0, 100_000), /claims \d+ bytes, which is more than the archive has/],
    [Buffer.alloc(1024), /is a tar without any file/],
    [Buffer.from('x'.repeat(2000)), /is damaged here/],
    [gzipSync(tar).subarray(0, 50_000), /the archive itself: is no whole gzip file/],
  ] as const) {
    const { failed, cache } = await importOne(t, bytes)
    t.match(failed, [{ message: expected }])
    t.same(cache, nothing)
  }
})

t.test('decompression bombs: an archive, and a layer in one', async (t) => {
  const bomb = await compressedZeros(400 * 2 ** 20)
  const whole = await importOne(t, bomb)
  t.match(whole.failed, [{ message: /the archive itself: expands to more than 200 times/ }])
  t.same(whole.cache, nothing)
  const files = {
    'c.json': json({ rootfs: { type: 'layers', diff_ids: [large] } }),
    'bomb.tar.gz': bomb,
    'manifest.json': json([{ Config: 'c.json', Layers: ['bomb.tar.gz'], RepoTags: ['app:1'] }]),
  }
  const layer = await importOne(t, await tarWith(files))
  t.match(layer.failed, [{ message: /bomb\.tar\.gz: expands to more than 200 times/ }])
  t.same(layer.cache, nothing)
})

async function compressedZeros(size: number): Promise<Buffer> {
  const gzip = createGzip()
  const piece = Buffer.alloc(2 ** 20)
  const chunks: Buffer[] = []
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk))
  for (let done = 0; done < size; done += piece.length) {
    await new Promise<void>((resolve, reject) =>
      gzip.write(piece, (error) => (error ? reject(error) : resolve())),
    )
  }
  await new Promise<void>((resolve) => gzip.end(resolve))
  return Buffer.concat(chunks)
}

t.test('one bad image of an archive does not keep the others out', async (t) => {
  const other = await sample('good')
  const both = [
    ['manifest.json', Buffer.concat([])],
    ...Object.entries(withoutEntry(crane, `${largeHex}.tar.gz`)),
    ...Object.entries(craneFiles(other, ['good:1'])),
  ] as [string, Buffer][]
  const items = [crane, craneFiles(other, ['good:1'])].flatMap(
    (files) => JSON.parse(String(files['manifest.json'])) as unknown[],
  )
  const files = { ...Object.fromEntries(both), 'manifest.json': json(items) }
  const { failed, imported, cache } = await importOne(t, await tarWith(files))
  t.match(failed, [{ names: [{ repository: 'library/app' }], message: /is missing/ }])
  t.match(imported, [{ names: [{ repository: 'library/good' }] }])
  t.same(Object.keys(cache.tags), ['docker.io/library/good:1'])
  t.equal(cache.stored.length, 5)
})

t.test('what a bad image shares with the cache stays', async (t) => {
  const folder = t.testdir({
    'good.tar': await tarWith(crane),
    'bad.tar': await tarWith({ ...withoutEntry(layout, `blobs/sha256/${largeHex}`) }),
  })
  const before = await importPath(folder, join(folder, 'good.tar'))
  const after = await importPath(folder, join(folder, 'bad.tar'))
  t.equal(after.failed.length, 1)
  t.same(after.cache, before.cache)
})

t.test('a folder: links that leave it, and what is no file', async (t) => {
  const write = (folder: string) => {
    for (const [name, bytes] of Object.entries(crane)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), bytes)
    }
  }
  const folder = t.testdir({ secret: 'x' })
  write(join(folder, 'images/app/1'))
  symlinkSync('../../../secret', join(folder, 'images/app/1/leak'))
  const leaving = await importPath(folder, join(folder, 'images'))
  t.match(leaving.failed, [{ entry: 'leak', message: /is a link that leaves the folder/ }])
  t.same(leaving.cache, nothing)
  const none = await importPath(folder, join(folder, 'nowhere'))
  t.match(none.failed, [{ message: /nowhere: does not exist or cannot be read/ }])
  const device = await importPath(folder, '/dev/null')
  t.match(device.failed, [{ message: /is neither a file nor a folder/ }])
})
