// Names by RFC 4514, hostile ones included.
import t from 'tap'
import { compileNamePattern, coversNamePattern } from '../../src/rules/distinguished-name.ts'

const matching: [pattern: string, name: string][] = [
  ['CN=edge-*,O=Example', 'CN=edge-1,O=Example'],
  ['cn=edge-*, o=Example', 'CN=edge-1,O=Example'],
  ['2.5.4.3=edge-1', 'CN=edge-1'],
  ['CN=*', 'CN=a\\,O=Example'],
  ['CN=a\\,b', 'CN=a\\,b'],
  ['CN=a\\2Cb', 'CN=a\\,b'],
  ['CN="a,b"', 'CN=a\\,b'],
  ['CN=Bj\\C3\\B6rn', 'CN=Björn'],
  ['CN=a\\+b', 'CN=a\\+b'],
  ['CN=a+OU=b', 'OU=b+CN=a'],
  ['CN=a\\ ', 'CN=a\\ '],
  ['*', 'CN=a,OU=b,O=c'],
  ['**', 'CN=a'],
  ['*,O=Example', 'CN=a,OU=b,O=Example'],
  ['CN=a,*', 'CN=a,OU=b,O=c'],
  ['CN=a,**,O=c', 'CN=a,O=c'],
  ['*,OU=b,*', 'CN=a,OU=b,OU=b,O=c'],
  ['CN=a\\\\', 'CN=a\\\\'],
]

const others: [pattern: string, name: string][] = [
  ['CN=*,O=Example', 'CN=a\\,O=Example'],
  ['CN=edge-*,O=Example', 'CN=edge-1\\,O=Example'],
  ['*,O=Example', 'CN=a\\,O=Example'],
  ['*,O=Example', 'O=Example'],
  ['CN=*,O=Example', 'CN=a\\2CO=Example'],
  ['CN=*,O=Example', 'CN=a+O=Example'],
  ['CN=a+OU=b', 'CN=a,OU=b'],
  ['CN=a+OU=b', 'CN=a\\+OU=b'],
  ['CN=a', 'CN=a+OU=b'],
  ['CN=a', 'CN=a,O=b'],
  ['CN=a,O=b', 'O=b,CN=a'],
  ['CN=*,OU=*,O=Example', 'CN=a,O=Example'],
  ['CN=a', 'OU=a'],
  ['CN=a', 'CN=A'],
  ['CN=a,*', 'CN=a'],
  ['*', ''],
  ['*', 'no name'],
  ['CN=*', 'CN=open\\'],
  ['O=Example', 'O=Example\\, Inc.'],
  ['CN=a+CN=*', 'CN=a'],
]

t.test('matched part by part', async (t) => {
  for (const [pattern, name] of matching) {
    t.ok(compileNamePattern(pattern)?.matches(name), `${pattern} and ${name}`)
  }
  for (const [pattern, name] of others) {
    t.equal(compileNamePattern(pattern)?.matches(name), false, `${pattern} and ${name}`)
  }
})

t.test('what is no pattern', async (t) => {
  for (const text of [
    '',
    'alice',
    'CN',
    'CN=a,',
    ',',
    'CN=a,b',
    '*a,CN=b',
    'CN=a\\',
    'CN="a',
    '=a',
  ]) {
    t.equal(compileNamePattern(text), undefined, text)
  }
})

t.test('the time is bounded', async (t) => {
  const name = Array.from({ length: 2000 }, () => 'CN=a').join(',')
  const pattern = Array.from({ length: 50 }, () => '**,CN=a').join(',')
  t.ok(compileNamePattern(`${pattern},CN=a`)?.matches(name))
  t.notOk(compileNamePattern(`${pattern},CN=b`)?.matches(name))
})

t.test('which pattern covers which', async (t) => {
  const cases: [outer: string, inner: string, covers: boolean][] = [
    ['*', 'CN=a,O=b', true],
    ['CN=*,O=b', 'CN=a,O=b', true],
    ['CN=*,O=b', 'cn=a*,o=b', true],
    ['CN=a,O=b', 'CN=*,O=b', false],
    ['CN=*', 'CN=a,O=b', false],
    ['*,O=b', '*,O=b', true],
    ['CN=*,O=b', '*,O=b', false],
    ['CN=*', 'CN=a\\,O=b', true],
  ]
  for (const [outer, inner, covers] of cases) {
    t.equal(coversNamePattern(outer, inner), covers, `${outer} over ${inner}`)
  }
})
