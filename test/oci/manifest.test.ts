import t from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { readManifest } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'

const a = digestOf('a')
const b = digestOf('b', 'sha512')

function manifest(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}

t.test('an index and an image tell what they refer to', async (t) => {
  t.same(readManifest(manifest({ manifests: [{ digest: a }, { digest: b }] }), undefined), {
    mediaType: mediaTypes.ociIndex,
    children: [a, b],
  })
  const image = { config: { digest: a }, layers: [{ digest: b }], subject: { digest: a } }
  t.same(readManifest(manifest(image), `${mediaTypes.dockerManifest}; charset=utf-8`), {
    mediaType: mediaTypes.dockerManifest,
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
    t.throws(() => readManifest(bytes, undefined), GatewayError, bytes.toString())
  }
  const index = manifest({ mediaType: mediaTypes.ociIndex, manifests: [] })
  t.throws(() => readManifest(index, mediaTypes.ociManifest), GatewayError)
})
