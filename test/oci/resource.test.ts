import t from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { isRepositoryName, parseResource } from '../../src/oci/resource.ts'

const sha256 = `sha256:${'a'.repeat(64)}` as const
const sha512 = `sha512:${'b'.repeat(128)}` as const

function codeOf(path: string): string {
  try {
    return parseResource(path).kind
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

t.test('every endpoint of the pull API is recognised', async (t) => {
  t.same(parseResource('/v2/'), { kind: 'base' })
  t.same(parseResource('/v2/_catalog'), { kind: 'catalog' })
  t.same(parseResource('/v2/a/b/tags/list'), { kind: 'tags', name: 'a/b' })
  t.same(parseResource('/v2/a/manifests/v1.0'), { kind: 'manifest', name: 'a', tag: 'v1.0' })
  t.same(parseResource(`/v2/a/manifests/${sha512}`), {
    kind: 'manifest',
    name: 'a',
    digest: sha512,
  })
  t.same(parseResource(`/v2/quay.io/a/blobs/${sha256}`), {
    kind: 'blob',
    name: 'quay.io/a',
    digest: sha256,
  })
  t.same(parseResource(`/v2/a/referrers/${sha256}`), {
    kind: 'referrers',
    name: 'a',
    digest: sha256,
  })
  t.same(parseResource('/v2/a/blobs/uploads/'), { kind: 'upload', name: 'a' })
})

t.test('words of the API are legal parts of a repository name', async (t) => {
  t.same(parseResource('/v2/manifests/blobs/manifests/tags'), {
    kind: 'manifest',
    name: 'manifests/blobs',
    tag: 'tags',
  })
})

t.test('an encoded colon in a digest is legal, decoded once', async (t) => {
  const encoded = sha256.replace(':', '%3A')
  t.same(parseResource(`/v2/a/blobs/${encoded}`), { kind: 'blob', name: 'a', digest: sha256 })
})

t.test('what could mean two things is refused', async (t) => {
  for (const path of [
    '/v2/a%2Fb/manifests/v1',
    '/v2/a/%2e%2e/manifests/v1',
    '/v2/a/manifests/v%00',
    '/v2/a/manifests/v%255C',
    '/v2/a\\b/manifests/v1',
    '/v2/a/manifests/v1%',
    '/v2/a/manifests/v1%zz',
    '/v2/a/manifests/v1#x',
    '/v2/ü/manifests/v1',
  ]) {
    t.equal(codeOf(path), 'REQUEST_INVALID', path)
  }
})

t.test('a name has no capitals unless they are allowed, and 255 characters', async (t) => {
  t.notOk(isRepositoryName('Team/app'))
  t.ok(isRepositoryName('Team/app', { capitals: true }))
  t.notOk(isRepositoryName('Team//app', { capitals: true }))
  t.ok(isRepositoryName('a'.repeat(255)))
  t.notOk(isRepositoryName('a'.repeat(256)))
})

t.test('the grammar is strict', async (t) => {
  t.equal(codeOf('/v2/../manifests/v1'), 'NAME_INVALID')
  t.equal(codeOf('/v2//a/manifests/v1'), 'NAME_INVALID')
  t.equal(codeOf('/v2/a__-b/manifests/v1'), 'NAME_INVALID')
  t.equal(codeOf(`/v2/${'a'.repeat(512)}/manifests/v1`), 'NAME_INVALID')
  t.equal(codeOf('/v2/manifests/v1'), 'NAME_INVALID')
  t.equal(codeOf('/v2/a/blobs/sha256:abc'), 'DIGEST_INVALID')
  t.equal(codeOf(`/v2/a/manifests/sha256:${'A'.repeat(64)}`), 'DIGEST_INVALID')
  t.equal(codeOf('/v2/a/manifests/.INVALID'), 'MANIFEST_UNKNOWN')
  t.equal(codeOf(`/v2/a/manifests/${'t'.repeat(128)}`), 'manifest')
  t.equal(codeOf(`/v2/a/manifests/${'t'.repeat(129)}`), 'MANIFEST_UNKNOWN')
  t.equal(codeOf('/v2/a/tags/anything'), 'NOT_FOUND')
  t.equal(codeOf('/v2/a/other/v1'), 'NOT_FOUND')
  t.equal(codeOf('/v1/a'), 'NOT_FOUND')
})
