import t from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { readManifest } from '../../src/oci/manifest.ts'
import { mediaTypes, schema1Types } from '../../src/oci/media-type.ts'

const a = digestOf('a')
const b = digestOf('b', 'sha512')

function manifest(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}

t.test('an index and an image tell what they refer to', async (t) => {
  t.same(readManifest(manifest({ manifests: [{ digest: a }, { digest: b }] })), {
    mediaType: mediaTypes.ociIndex,
    children: [a, b],
  })
  const image = { config: { digest: a }, layers: [{ digest: b }], subject: { digest: a } }
  t.same(readManifest(manifest(image)), {
    mediaType: mediaTypes.ociManifest,
    children: [a, b],
    subject: a,
  })
})

t.test('what is no unambiguous manifest is refused', async (t) => {
  const refused = [
    Buffer.from('<html>'),
    manifest([]),
    manifest({}),
    manifest({ manifests: [], layers: [] }),
    manifest({ mediaType: mediaTypes.ociIndex, manifests: [], config: {} }),
  ]
  for (const bytes of refused) {
    t.throws(() => readManifest(bytes), GatewayError, bytes.toString())
  }
})

t.test('lists that contradict the media type are refused', (t) => {
  const { ociIndex, dockerList, ociManifest, dockerManifest } = mediaTypes
  for (const mediaType of [ociIndex, dockerList]) {
    t.throws(() => readManifest(manifest({ mediaType, layers: [] })), GatewayError)
  }
  for (const mediaType of [ociManifest, dockerManifest]) {
    t.throws(() => readManifest(manifest({ mediaType, manifests: [] })), GatewayError)
  }
  const nulls = manifest({ mediaType: ociManifest, manifests: null, layers: [{ digest: a }] })
  t.same(readManifest(nulls).children, [a])
  t.end()
})

t.test('a type is by the document: what it does not tell, its fields do', (t) => {
  const guesses: [document: unknown, mediaType: string][] = [
    [{ manifests: [] }, mediaTypes.ociIndex],
    [{ layers: [] }, mediaTypes.ociManifest],
    [
      { config: { mediaType: 'application/vnd.docker.container.image.v1+json' } },
      mediaTypes.dockerManifest,
    ],
    [{ fsLayers: [{ blobSum: a }] }, schema1Types.plain],
    [{ fsLayers: [], signatures: [] }, schema1Types.signed],
    [{ mediaType: '', layers: [] }, mediaTypes.ociManifest],
    [
      { mediaType: 'application/vnd.oci.artifact.manifest.v1+json', blobs: [] },
      'application/vnd.oci.artifact.manifest.v1+json',
    ],
  ]
  for (const [document, mediaType] of guesses) {
    t.equal(readManifest(manifest(document)).mediaType, mediaType)
  }
  t.end()
})

t.test('media types that are none, or that browsers run, are refused', (t) => {
  const wrong: unknown[] = [
    1,
    {},
    'x',
    'a/b/c',
    '/',
    'application/',
    'application/x\r\nset-cookie: a=b',
    'application/x y',
    'application/json; charset=utf-8',
    `application/${'x'.repeat(200)}`,
    'application/\u00e4',
    'text/html',
    'TEXT/HTML',
    'text/plain',
    'application/xhtml+xml',
    'image/svg+xml',
    'text/javascript',
    'application/javascript',
    'application/xml',
    'application/atom+xml',
    'application/pdf',
    'multipart/mixed',
  ]
  for (const mediaType of wrong) {
    t.throws(
      () => readManifest(manifest({ mediaType, layers: [] })),
      GatewayError,
      String(mediaType),
    )
  }
  t.end()
})

t.test('fields that readers may take for each other are refused', (t) => {
  const evil = `"manifests":[{"digest":"${b}"}]`
  const refused = [
    `{"layers":[],"Layers":[]}`,
    `{"layers":[],"Manifests":[]}`,
    `{"layers":[],${evil.replace('manifests', 'MANIFESTS')}}`,
    `{"layers":[],"layers":[]}`,
    `{"layers":[],"\\u006cayers":[]}`,
    `{"layers":[],"\\u004cayers":[]}`,
    `{"layer\u017f":[]}`,
    `{"layers":[{"digest":"${a}","Digest":"${b}"}]}`,
    `{"layers":[{"digest":"${a}","digest":"${b}"}]}`,
    `{"layers":[],"other":1,"oTher":2}`,
    `{"layers":[],"annotations":{"a":"1","a":"2"}}`,
    '['.repeat(100_000) + ']'.repeat(100_000),
    `{"layers":${'['.repeat(100)}${']'.repeat(100)}}`,
    '{"layers":[',
    '{"layers',
    '{"layers\\',
  ]
  for (const text of refused) {
    t.throws(() => readManifest(Buffer.from(text)), GatewayError, text.slice(0, 80))
  }
  const fine = `{"layers":[],"annotations":{"Digest":"1","digest":"2","a":"\\"}, {","layers":"x"}}`
  t.same(readManifest(Buffer.from(fine)).children, [])
  t.end()
})

t.test('documents that would hold everybody up are refused', (t) => {
  const descriptors = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ digest: digestOf(`${at}`) }))
  t.equal(readManifest(manifest({ layers: descriptors(10_000) })).children.length, 10_000)
  t.throws(() => readManifest(manifest({ layers: descriptors(10_001) })), /more than 10000 things/)
  const fields = Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`f${at}`, at]))
  t.throws(() => readManifest(manifest({ layers: [], fields })), /too many fields/)
  t.end()
})
