// Signs manifests of schema 1, as the first registries of docker did: still thousands of them in mirrors.
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { schema1Types } from '../../../src/oci/media-type.ts'
import type { SampleContent } from '../../../src/demo/sample-image.ts'

/** An image of one empty layer, its manifest signed, tagged `v1`. */
export function buildSchema1Image(name: string): SampleContent {
  const layer = gzipSync(Buffer.alloc(1024))
  const blobSum = digestOf(layer)
  const id = createHash('sha256').update('one layer').digest('hex')
  const compatibility = { id, created: '2015-01-01T00:00:00Z', os: 'linux', architecture: 'amd64' }
  const payload = {
    schemaVersion: 1,
    name,
    tag: 'v1',
    architecture: 'amd64',
    fsLayers: [{ blobSum }],
    history: [{ v1Compatibility: JSON.stringify(compatibility) }],
  }
  const { bytes, digest } = signed(JSON.stringify(payload, null, 3))
  return {
    blobs: new Map([[blobSum, layer]]),
    manifests: new Map([[digest, { mediaType: schema1Types.signed, bytes }]]),
    tags: new Map([['v1', digest]]),
  }
}

/** The payload with one signature (image manifest version 2, schema 1, "Signed Manifests"). */
function signed(payload: string): { bytes: Buffer; digest: Digest } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const tail = '\n}'
  const formatLength = payload.length - tail.length
  const header = { formatLength, formatTail: encoded(tail), time: '2015-01-01T00:00:00Z' }
  const protectedHeader = encoded(JSON.stringify(header))
  const signature = sign('sha256', Buffer.from(`${protectedHeader}.${encoded(payload)}`), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  }).toString('base64url')
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  const jwk = { crv, kid: keyId(publicKey), kty, x, y }
  const signatures = [{ header: { jwk, alg: 'ES256' }, signature, protected: protectedHeader }]
  const text = `${payload.slice(0, formatLength)},\n   "signatures": ${JSON.stringify(signatures)}${tail}`
  return { bytes: Buffer.from(text), digest: digestOf(Buffer.from(payload)) }
}

function encoded(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** As libtrust names keys: 240 bits of the hash in base 32, in groups of four. */
function keyId(key: KeyObject): string {
  const der = key.export({ format: 'der', type: 'spki' })
  const bits = [...createHash('sha256').update(der).digest().subarray(0, 30)]
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('')
  const letters = (bits.match(/.{5}/g) ?? []).map((five) => alphabet[Number.parseInt(five, 2)])
  return (letters.join('').match(/.{4}/g) ?? []).join(':')
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
