// Which files are watched: every path of the schema, but those that are not read again.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { TSchema } from 'typebox'
import type { Shape } from '../../src/config/decode.ts'
import { filesNamedBy } from '../../src/config/files.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigSchema } from '../../src/config/schema.ts'

t.test('every file that a config can name, each once', async (t) => {
  const folder = t.testdir({})
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { tls: { cert: server.crt, key: server.key, clientAuth: required, clientCa: [ca.crt], crl: [ca.crl] } }
auth:
  issuers:
    - { issuer: a, audience: x, jwks: jwks.json }
    - { issuer: b, audience: x, jwks: 'https://b.example/jwks', jwksCa: b-ca.crt }
  tokenService: { key: token.key, htpasswd: users }
cache:
  dir: cache
  import: [images.tar]
  shared: { s3: { endpoint: 'https://s3.example', bucket: images, tls: { ca: store-ca.crt } } }
upstreams:
  one.local:
    tls: { ca: upstream-ca.crt, cert: gateway.crt, key: gateway.key, passphraseFile: pass }
    auth: { username: robot, passwordFile: password }
  two.local: { tls: { ca: upstream-ca.crt, pfx: gateway.p12 }, auth: { dockerConfig: config.json } }
  three.local:
    endpoints:
      - url: https://first.example
        tls: { ca: first-ca.crt, cert: first.crt, key: first.key, passphraseFile: first-pass }
        auth: { username: robot, passwordFile: first-password }
      - url: https://second.example
        tls: { pfx: second.p12 }
        auth: { dockerConfig: second.json }
replicas:
  list: ['a.example:443', 'b.example:443']
  identity: [gateway]
  tls: { ca: replica-ca.crt, cert: replica.crt, key: replica.key, passphraseFile: replica-pass }
shelf: shelf.yaml
`,
  )
  writeFileSync(join(folder, 'shelf.yaml'), '[]')
  const watched = [
    'jwks.json',
    'b-ca.crt',
    'users',
    'upstream-ca.crt',
    'gateway.crt',
    'gateway.key',
    'pass',
    'password',
    'gateway.p12',
    'config.json',
    'first-ca.crt',
    'first.crt',
    'first.key',
    'first-pass',
    'first-password',
    'second.p12',
    'second.json',
    'replica-ca.crt',
    'replica.crt',
    'replica.key',
    'replica-pass',
    'shelf.yaml',
  ]
  const found = filesNamedBy(await loadConfig(file))
  t.same(found.toSorted(), watched.map((name) => join(folder, name)).toSorted())
  // A path that is new in the schema belongs into the config above.
  const { listen: _l, admin: _a, cache: _c, ...properties } = ConfigSchema.properties
  const sections: TSchema[] = Object.values(properties)
  t.equal(
    sections.map((section) => watchedIn(section)).reduce((sum, count) => sum + count, 0),
    watched.length,
  )
})

function watchedIn(shape: Shape): number {
  const own = shape.isPath === true && shape.isWatched !== false ? 1 : 0
  const below = [
    ...Object.values(shape.properties ?? {}),
    ...Object.values(shape.patternProperties ?? {}),
    ...(shape.items === undefined ? [] : [shape.items]),
  ]
  return below.reduce((sum, child) => sum + watchedIn(child), own)
}
