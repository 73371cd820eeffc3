import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { programPrinting } from '../../src/demo/program.ts'
import { buildSampleImage, printedLine, type SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { readManifest } from '../../src/oci/manifest.ts'

const layerBytes = 100_000

t.test('every digest is right, and everything referred to is there', async (t) => {
  const { blobs, manifests, tags } = await buildSampleImage({ layerBytes })
  for (const [digest, bytes] of blobs) t.equal(digestOf(bytes), digest)
  for (const [digest, { bytes, mediaType }] of manifests) {
    t.equal(digestOf(bytes), digest)
    const { children, mediaType: declared, subject } = readManifest(bytes)
    t.equal(declared, mediaType)
    for (const child of children) t.ok(manifests.has(child) || blobs.has(child), child)
    if (subject !== undefined) t.ok(manifests.has(subject), 'the subject is there')
  }
  t.equal(manifests.size, 4, 'an index, two images, an artifact')
  t.ok(manifests.has(tags.get('latest') as Digest))
  t.equal(tags.get('latest'), tags.get('1.0'))
})

t.test('the same bytes every time, others for another seed', async (t) => {
  t.same(await buildSampleImage({ layerBytes }), await buildSampleImage({ layerBytes }))
  const other = await buildSampleImage({ layerBytes, seed: 'other' })
  t.not(other.tags.get('latest'), (await buildSampleImage({ layerBytes })).tags.get('latest'))
})

t.test('diff_ids are those of the uncompressed layers', async (t) => {
  const content = await buildSampleImage({ layerBytes })
  const images = imagesOf(content)
  t.same(
    images.map(({ config }) => config.architecture),
    ['amd64', 'arm64'],
  )
  for (const { layers, config } of images) {
    const unpacked = layers.map((digest) => digestOf(gunzipSync(content.blobs.get(digest) ?? '')))
    t.same(unpacked, config.rootfs.diff_ids)
  }
})

t.test('tar lists a layer', async (t) => {
  const content = await buildSampleImage({ layerBytes })
  const [main = '', release = ''] = imagesOf(content)[0]?.layers ?? []
  const listing = (digest: string) =>
    execFileSync('tar', ['-tzv', '--utc'], { input: content.blobs.get(digest as Digest) })
  t.match(listing(main).toString(), /^-rwxr-xr-x root\/root +\d+ 1970-01-01 00:00 main\n$/)
  t.match(
    listing(release).toString(),
    /^-rw-r--r-- root\/root +\d+ 1970-01-01 00:00 etc\/os-release\n$/,
  )
})

t.test('the program runs and prints its line', { skip: notAmd64Linux() }, async (t) => {
  const file = join(t.testdir(), 'main')
  writeFileSync(file, programPrinting(`${printedLine}\n`, 'amd64'))
  chmodSync(file, 0o755)
  t.equal(execFileSync(file).toString(), 'running main\n')
})

function imagesOf({ blobs, manifests }: SampleContent) {
  return [...manifests.values()]
    .map(({ bytes }) => JSON.parse(bytes.toString()) as Manifest)
    .filter(({ artifactType, layers }) => layers !== undefined && artifactType === undefined)
    .map(({ config, layers = [] }) => ({
      layers: layers.map(({ digest }) => digest),
      config: JSON.parse(String(blobs.get(config.digest))) as ImageConfig,
    }))
}

interface Manifest {
  artifactType?: string
  config: { digest: Digest }
  layers?: { digest: Digest }[]
}

interface ImageConfig {
  architecture: string
  rootfs: { diff_ids: string[] }
}

function notAmd64Linux(): string | false {
  const here = process.platform === 'linux' && process.arch === 'x64'
  return here ? false : 'the program is for another machine'
}
