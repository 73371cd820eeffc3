// The texts that node:crypto makes of the names in a certificate, hostile ones included.
import t from 'tap'
import { parseAlternativeNames, parseSubject } from '../../src/rules/certificate-names.ts'

t.test('subjects', async (t) => {
  const cases: [text: string | undefined, subject: string, commonName: string][] = [
    ['C=DE\nO=Example\nCN=edge-1', 'CN=edge-1,O=Example,C=DE', 'edge-1'],
    ['O=Example\\, Inc.\nCN=a\\+b', 'CN=a\\+b,O=Example\\, Inc.', 'a+b'],
    ['CN=edge-1 + OU=site', 'CN=edge-1+OU=site', 'edge-1'],
    ['CN=line\\0Abreak', 'CN=line\\0Abreak', 'line\nbreak'],
    ['CN=first\nCN=last', 'CN=last,CN=first', 'last'],
    ['CN=Bj\u00f6rn', 'CN=Bj\u00f6rn', 'Bj\u00f6rn'],
    ['O=Example', 'O=Example', ''],
    ['1.2.3.4=x\nCN=a', 'CN=a,1.2.3.4=x', 'a'],
  ]
  for (const [text, subject, commonName] of cases) {
    t.same(parseSubject(text ?? ''), { subject, commonName }, text ?? 'none')
  }
  t.equal(parseSubject('no pair'), undefined)
})

t.test('alternative names', async (t) => {
  t.same(parseAlternativeNames(undefined), { dnsNames: [], uris: [] })
  t.same(
    parseAlternativeNames(
      'DNS:edge-1.local, URI:spiffe://site/edge-1, IP Address:10.0.0.1, email:a@b, DNS:two',
    ),
    { dnsNames: ['edge-1.local', 'two'], uris: ['spiffe://site/edge-1'] },
  )
  t.same(
    parseAlternativeNames('DNS:"a, DNS:admin", URI:"x\\"y"'),
    { dnsNames: ['a, DNS:admin'], uris: ['x"y'] },
    'a quoted value stays one value',
  )
  for (const text of ['nonsense', 'DNS:"open', 'DNS:a,DNS:b', 'DNS:"\\x41"']) {
    t.equal(parseAlternativeNames(text), undefined, text)
  }
})
