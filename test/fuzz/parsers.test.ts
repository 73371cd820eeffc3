// Whatever stands in a foreign text: it is understood by its grammar or refused by an error of our
// own, and what comes out keeps what its reader relies on.
import { validateHeaderValue } from 'node:http'
import { posix } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import { nextQuery } from '../../src/oci/link.ts'
import { GatewayError } from '../../src/errors.ts'
import { parseCrls } from '../../src/listener/trust/crl-parser.ts'
import { readManifest } from '../../src/oci/manifest.ts'
import { isMediaType, isRunByBrowsers } from '../../src/oci/media-type.ts'
import { parseRanges } from '../../src/oci/range.ts'
import { parseResource } from '../../src/oci/resource.ts'
import { grant, parseScopes } from '../../src/registry/token/scope.ts'
import { compileGlob } from '../../src/rules/glob.ts'
import { printable } from '../../src/rules/printable.ts'
import { checkedPath, linkTarget } from '../../src/transfer/bad-archive.ts'
import { parseChallenges, trustedRealm } from '../../src/upstream/auth/challenge.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { makeCrl } from '../helpers/crl.ts'

const runs = { numRuns: 500 }

/** Texts put together from `parts`, among other characters. */
const made = (...parts: string[]) =>
  fc
    .array(fc.oneof(fc.constantFrom(...parts), fc.string({ maxLength: 4 })), { maxLength: 12 })
    .map((pieces) => pieces.join(''))

/** What `read` returns; undefined where it refuses by an error of `kind`. */
function refusable<T>(read: () => T, kind: new (...given: never[]) => Error): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof kind) return undefined
    throw error
  }
}

t.test('request targets', async () => {
  const target = made('/v2/', 'app', '/', '..', '%2e', '%2F', '%00', '\\', 'manifests/', 'blobs/')
  fc.assert(
    fc.property(target, (path) => {
      const resource = refusable(() => parseResource(path), GatewayError)
      if (resource === undefined || !('name' in resource)) return true
      return !/%|\\|\0|\.\.|\/\/|^\/|\/$/.test(resource.name)
    }),
    runs,
  )
})

t.test('ranges', async () => {
  const header = made('bytes=', '0', '-', '9', ',', ' ', '99999999999999999999', 'bytes', '=')
  fc.assert(
    fc.property(header, fc.integer({ min: 0, max: 30 }), (text, size) => {
      const parsed = parseRanges(text, size)
      if (typeof parsed === 'string') return true
      const ranges = Array.isArray(parsed) ? parsed : [parsed]
      return ranges.every(({ first, last }) => first >= 0 && first <= last && last < size)
    }),
    runs,
  )
})

t.test('media types', async () => {
  fc.assert(
    fc.property(made('application/', 'text/', 'html', '+json', '\r\n', ';', ' ', '/'), (text) => {
      if (!isMediaType(text) || isRunByBrowsers(text)) return true
      validateHeaderValue('content-type', text)
      return /^application\/[^\s;]+$/i.test(text)
    }),
    runs,
  )
})

t.test('links to a next page', async () => {
  const header = made(
    '<',
    '>',
    '; rel="next"',
    ';rel=next',
    ',',
    '/v2/a?n=1',
    'http://x/',
    '"',
    '\\',
  )
  fc.assert(
    fc.property(header, (text) => {
      const query = refusable(() => nextQuery(text), Error)
      return query === undefined || !/[\s#<>]/.test(query)
    }),
    runs,
  )
  // Time that grows with the square of the length would never end here.
  nextQuery('<'.repeat(1_000_000))
  nextQuery('<a>; x="'.repeat(100_000))
})

t.test('challenges, and where credentials may go', async () => {
  const upstream = new URL('https://registry.example')
  const header = made('Bearer ', 'realm="https://', 'registry.example', 'evil.test', '@', '"', ',')
  fc.assert(
    fc.property(header, (text) =>
      parseChallenges(text).every((challenge) => {
        if (challenge.scheme === 'basic') return true
        const realm = trustedRealm(challenge.realm, upstream, () => false)
        return realm === undefined || /(^|\.)registry\.example$/.test(realm.hostname)
      }),
    ),
    runs,
  )
  parseChallenges('a='.repeat(1_000_000))
  parseChallenges(`Bearer realm="${'\\'.repeat(1_000_000)}`)
})

t.test('scopes', async () => {
  fc.assert(
    fc.property(made('repository:', 'registry:', 'catalog', ':', 'pull', '*', ',', ' '), (text) =>
      grant(parseScopes([text]), (name) => name === 'allowed').every(
        ({ type, name }) => name === 'allowed' || (type === 'registry' && name === 'catalog'),
      ),
    ),
    runs,
  )
})

t.test('manifests', async () => {
  const value = fc.jsonValue({ maxDepth: 2 })
  const document = fc.record(
    {
      schemaVersion: fc.oneof(fc.constant(2), fc.constant(1), value),
      mediaType: fc.oneof(fc.constant('application/vnd.oci.image.index.v1+json'), value),
      manifests: value,
      layers: value,
      config: value,
      subject: value,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(document, (given) => {
      const facts = refusable(() => readManifest(Buffer.from(JSON.stringify(given))), GatewayError)
      return facts === undefined || isMediaType(facts.mediaType)
    }),
    runs,
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      refusable(() => readManifest(Buffer.from(bytes)), GatewayError)
    }),
    runs,
  )
})

t.test('revocation lists that were altered', async (t) => {
  const issuer = await makeCertificate({ subject: 'CN=CA', ca: true })
  const { der } = await makeCrl({ issuer, serials: ['0102', '0a0b0c'] })
  const { publicKey } = await import('node:crypto').then(({ X509Certificate }) => ({
    publicKey: new X509Certificate(issuer.certificatePem).publicKey,
  }))
  t.ok(parseCrls(der)[0]?.isSignedBy(publicKey), 'the list as it was')
  const change = fc.record({
    at: fc.integer({ min: 0, max: der.length - 1 }),
    bit: fc.integer({ min: 0, max: 7 }),
    length: fc.integer({ min: 0, max: der.length }),
    cut: fc.boolean(),
  })
  fc.assert(
    fc.property(change, ({ at, bit, length, cut }) => {
      const altered = Buffer.from(der)
      altered[at] = (altered[at] ?? 0) ^ (1 << bit)
      const given = cut ? altered.subarray(0, length) : altered
      for (const list of refusable(() => parseCrls(given), Error) ?? []) {
        refusable(() => list.serials(), Error)
        if (list.isSignedBy(publicKey)) throw new Error(`byte ${at} may be altered`)
      }
    }),
    runs,
  )
})

t.test('archive entries and their links', async () => {
  fc.assert(
    fc.property(
      made('/', '..', '.', 'a', '\\', '\0', './'),
      made('/', '..', 'b'),
      (name, target) => {
        const path = refusable(() => checkedPath(name), Error)
        if (path === undefined) return true
        const inside = (given: string) => {
          const normal = posix.normalize(given)
          return !posix.isAbsolute(normal) && normal !== '..' && !normal.startsWith('../')
        }
        if (!inside(path)) return false
        return (['symlink', 'link'] as const).every((kind) => {
          const led = refusable(() => linkTarget(path, target, kind), Error)
          return led === undefined || inside(led)
        })
      },
    ),
    runs,
  )
})

t.test('patterns of names, against a plain reading of them', async () => {
  const escape = (text: string) => text.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)
  const text = fc.array(fc.constantFrom('a', 'b', '*', '.', '-'), { maxLength: 8 })
  fc.assert(
    fc.property(text, text, (pattern, name) => {
      const source = escape(pattern.join('')).replaceAll(/\*+/g, '.*')
      const wanted = new RegExp(`^${source}$`, 's').test(name.join(''))
      return compileGlob(pattern.join(''), undefined).matches(name.join('')) === wanted
    }),
    runs,
  )
})

t.test('text for a terminal', async () => {
  fc.assert(
    fc.property(made('\u001B[31m', '\u009B', '\r', '\n', '\u0007', '\u202E', 'ü'), (text) => {
      // eslint-disable-next-line no-control-regex
      return !/[\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/.test(printable(text))
    }),
    runs,
  )
})
