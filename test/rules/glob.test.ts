import * as fc from 'fast-check'
import t from 'tap'
import { compileGlob, compileImageGlob, coversGlob, type Separator } from '../../src/rules/glob.ts'

const cases: [pattern: string, separator: Separator, matching: string[], others: string[]][] = [
  ['docker.io/library/alpine', '/', ['docker.io/library/alpine'], ['docker.io/library/alpine2']],
  ['docker.io/library/*', '/', ['docker.io/library/a'], ['docker.io/library', 'docker.io/a/b/c']],
  ['docker.io/**', '/', ['docker.io/a', 'docker.io/a/b/c'], ['docker.io', 'docker.iox/a']],
  ['**', '/', ['a', 'a/b'], []],
  ['*/app', '/', ['a/app'], ['a/b/app', 'app']],
  ['**/app', '/', ['app', 'a/app', 'a/b/app'], ['a/app/b']],
  ['a/**/z', '/', ['a/z', 'a/b/z', 'a/z/z/z'], ['a/b', 'b/z', 'a/zz']],
  ['a/team-*-x/*', '/', ['a/team-1-x/y', 'a/team--x-x/y'], ['a/team-1/y', 'a/team-1-x']],
  ['*.example', '.', ['a.example'], ['a.b.example', 'example']],
  ['edge-*', undefined, ['edge-1', 'edge-a/b.c', 'edge-'], ['xedge-1', 'edge']],
  ['a.c', undefined, ['a.c'], ['abc']],
  ['a(b|c)+', undefined, ['a(b|c)+'], ['ab']],
]

for (const [pattern, separator, matching, others] of cases) {
  t.test(`${pattern} by ${separator ?? 'nothing'}`, async (t) => {
    const glob = compileGlob(pattern, separator)
    for (const name of matching) t.ok(glob.matches(name), `matches ${name}`)
    for (const name of others) t.notOk(glob.matches(name), `does not match ${name}`)
  })
}

t.test('what would make a regular expression explode is quick', async (t) => {
  const glob = compileGlob(`${'*a'.repeat(60)}b`, undefined)
  t.notOk(glob.matches('a'.repeat(5000)))
  const deep = compileGlob(`${'**/a/'.repeat(60)}b`, '/')
  t.notOk(deep.matches(Array.from({ length: 1000 }, () => 'a').join('/')))
})

t.test('a pattern says the same as its regular expression', async () => {
  const part = fc.string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 4 })
  const pattern = fc.array(fc.oneof(part, fc.constant('**')), { minLength: 1, maxLength: 5 })
  const segment = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 })
  const name = fc.array(segment, { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(pattern, name, (parts, segments) => {
      const got = compileGlob(parts.join('/'), '/').matches(segments.join('/'))
      return got === reference(parts).test(`${segments.join('/')}/`)
    }),
    { numRuns: 3000 },
  )
})

t.test('what one pattern covers, it matches', async (t) => {
  t.ok(coversGlob('docker.io/**', 'docker.io/library/*', '/'))
  t.ok(coversGlob('**', 'docker.io/**', '/'))
  t.ok(coversGlob('a/*', 'a/b', '/'))
  t.ok(coversGlob('a/**', 'a/**', '/'))
  t.notOk(coversGlob('a/*', 'a/**', '/'))
  t.notOk(coversGlob('a/b', 'a/*', '/'))
  const part = fc.constantFrom('a', 'b', '*', 'a*', '*b', '**')
  const pattern = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  const name = fc
    .array(fc.constantFrom('a', 'b', 'ab', 'aab'), { minLength: 1, maxLength: 5 })
    .map((parts) => parts.join('/'))
  fc.assert(
    fc.property(pattern, pattern, name, (outer, inner, name) => {
      fc.pre(coversGlob(outer, inner, '/') && compileGlob(inner, '/').matches(name))
      return compileGlob(outer, '/').matches(name)
    }),
    { numRuns: 1000 },
  )
})

/** Over names with a slash at the end. */
function reference(parts: readonly string[]): RegExp {
  const source = parts.map((part, index) => {
    if (part !== '**') return `${part.replaceAll(/\*+/g, '[^/]*')}/`
    return index === parts.length - 1 ? '(?:[^/]+/)+' : '(?:[^/]+/)*'
  })
  return new RegExp(`^${source.join('')}$`)
}

t.test('images: repositories, and tags or digests of them', async (t) => {
  const image = (reference: string, repository = 'app/web') => ({
    upstream: 'registry.local:5000',
    repository,
    reference,
  })
  const matches = (text: string, reference: string, repository?: string) =>
    compileImageGlob(text)?.(image(reference, repository))
  t.ok(matches('registry.local:5000/app/*:v1.*', 'v1.2'))
  t.notOk(matches('registry.local:5000/app/*:v1.*', 'v2.1'))
  t.notOk(matches('registry.local:5000/app/*:v1.*', 'v1.2', 'app/a/b'))
  t.ok(matches('registry.local:5000/**', 'v1.2', 'app/a/b'))
  t.ok(matches('registry.local:5000/app/web', 'sha256:00'))
  t.ok(matches('registry.local:5000/app/web@sha256:0*', 'sha256:00'))
  t.notOk(matches('registry.local:5000/app/web:*', 'sha256:00'), 'a tag is no digest')
  t.notOk(matches('registry.local:5000/app/web@*', 'latest'))
  t.ok(matches('**', 'latest'))
  for (const wrong of ['', 'a b', 'app:', 'app@', ':v1', 'app:v1:v2@', '/app']) {
    t.equal(compileImageGlob(wrong), undefined, wrong)
  }
})
