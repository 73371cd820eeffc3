import t from 'tap'
import type { PolicyConfig, RuleConfig } from '../../src/config/access-schema.ts'
import { createPolicy, type Action } from '../../src/policy/policy.ts'
import type { Subject } from '../../src/policy/subject.ts'

const anonymous: Subject = { key: '' }

const edge: Subject = {
  key: 'edge',
  certificate: {
    commonName: 'edge-1',
    subject: 'CN=edge-1,O=Example',
    dnsNames: ['Edge-1.Site.example'],
    uris: ['spiffe://example/ns/prod/sa/app'],
    spiffeId: 'spiffe://example/ns/prod/sa/app',
  },
}

const alice: Subject = {
  key: 'alice',
  token: {
    issuer: 'https://idp.example',
    subject: 'alice',
    groups: ['dev', 'ops'],
    claims: { 'kubernetes.io': { namespace: 'prod' }, level: 3, roles: ['reader'] },
  },
}

function rule(given: Partial<RuleConfig>): RuleConfig {
  return { repositories: ['**'], actions: ['pull', 'list', 'token'], effect: 'allow', ...given }
}

function policy(rules: Partial<RuleConfig>[], byDefault: PolicyConfig['default'] = 'deny') {
  return createPolicy({ default: byDefault, rules: rules.map(rule) })
}

const repository = 'docker.io/library/alpine'

const whos: [who: RuleConfig['who'], matching: Subject[]][] = [
  [undefined, [anonymous, edge, alice]],
  [{ cn: ['edge-*'] }, [edge]],
  [{ cn: ['x', 'edge-1'] }, [edge]],
  [{ cn: ['*'] }, [edge]],
  [{ dns: ['*.site.example'] }, [edge]],
  [{ dns: ['*.example'] }, []],
  [{ uri: ['spiffe://example/ns/*/sa/app'] }, [edge]],
  [{ uri: ['spiffe://example/**'] }, [edge]],
  [{ uri: ['spiffe://example/ns/*'] }, []],
  [{ subject: ['CN=edge-*,O=Example'] }, [edge]],
  [{ subject: ['alice'] }, []],
  [{ issuer: ['https://idp.example'], subject: ['alice'] }, [alice]],
  [{ issuer: ['https://other.example'], subject: ['alice'] }, []],
  [{ issuer: ['https://idp.example'] }, [alice]],
  [{ group: ['ops'] }, [alice]],
  [{ group: ['op'] }, []],
  [{ claim: { '/kubernetes.io/namespace': ['pro*'] } }, [alice]],
  [{ claim: { level: ['3'] } }, [alice]],
  [{ claim: { roles: ['reader'], level: ['4'] } }, []],
  [{ claim: { toString: ['*'] } }, []],
  [{ anonymous: true }, [anonymous]],
  [{ anonymous: false }, [edge, alice]],
  [{ cn: ['edge-1'], group: ['ops'] }, []],
]

for (const [who, matching] of whos) {
  t.test(`who ${JSON.stringify(who)}`, async (t) => {
    const { decide } = policy([who === undefined ? {} : { who }])
    for (const subject of [anonymous, edge, alice]) {
      t.equal(decide(subject, 'pull', repository).allowed, matching.includes(subject), subject.key)
    }
  })
}

t.test('certificate and token together match a rule that asks for both', async (t) => {
  const both: Subject = { ...edge, ...alice, key: 'both' }
  const { decide } = policy([{ who: { cn: ['edge-1'], group: ['ops'] } }])
  t.ok(decide(both, 'pull', repository).allowed)
})

t.test('a SPIFFE pattern looks only at a valid SVID', async (t) => {
  const { certificate } = edge
  if (certificate === undefined) throw new Error('no certificate')
  const { spiffeId: _, ...invalid } = certificate
  const { decide } = policy([{ who: { uri: ['spiffe://example/**', '**'] } }])
  t.notOk(decide({ key: 'x', certificate: invalid }, 'pull', repository).allowed)
  t.ok(decide(edge, 'pull', repository).allowed)
  const other = { ...invalid, uris: ['https://example/me'] }
  t.ok(decide({ key: 'y', certificate: other }, 'pull', repository).allowed)
})

t.test('the first rule that matches decides, and is named', async (t) => {
  const { decide } = policy([
    { name: 'no-secrets', repositories: ['docker.io/secret/**'], effect: 'deny' },
    { repositories: ['docker.io/**'], actions: ['pull'] },
  ])
  t.match(decide(edge, 'pull', 'docker.io/secret/x'), { allowed: false, rule: 'no-secrets' })
  t.match(decide(edge, 'pull', repository), { allowed: true, rule: 'rules.1' })
  t.match(decide(edge, 'list', repository), { allowed: false, rule: 'default' })
  t.match(decide(edge, 'pull', 'quay.io/a'), { allowed: false, rule: 'default' })
  t.match(policy([], 'allow').decide(edge, 'pull', 'quay.io/a'), { allowed: true, rule: 'default' })
})

t.test('an access list narrows what the rules allow, and never widens it', async (t) => {
  const token = { ...alice.token, issuer: 'i', subject: '', groups: [], claims: {} }
  const access = { pull: new Set([repository, 'quay.io/denied']), catalog: false }
  const subject: Subject = { key: 'list', token: { ...token, access } }
  const { decide } = policy([{ repositories: ['quay.io/**'], effect: 'deny' }, {}])
  t.ok(decide(subject, 'pull', repository).allowed)
  t.ok(decide(subject, 'list', repository).allowed)
  t.match(decide(subject, 'pull', 'docker.io/other/x'), { allowed: false, rule: 'token' })
  t.match(decide(subject, 'pull', 'quay.io/denied'), { allowed: false, rule: 'rules.0' })
  const reader: Subject = {
    key: 'catalog',
    token: { ...token, access: { ...access, catalog: true } },
  }
  t.ok(decide(reader, 'list', 'docker.io/other/x').allowed)
  t.notOk(decide(reader, 'pull', 'docker.io/other/x').allowed)
})

t.test('what is remembered is one caller, one action, one repository', async (t) => {
  const { decide } = policy([{ who: { cn: ['edge-1'] }, actions: ['pull'], repositories: ['a/b'] }])
  const ask = (subject: Subject, action: Action, name: string) =>
    decide(subject, action, name).allowed
  for (let round = 0; round < 2; round += 1) {
    t.ok(ask(edge, 'pull', 'a/b'))
    t.notOk(ask(alice, 'pull', 'a/b'))
    t.notOk(ask(edge, 'list', 'a/b'))
    t.notOk(ask(edge, 'pull', 'a/c'))
  }
  // More than is remembered: still right.
  for (let i = 0; i < 40_000; i += 1) ask(edge, 'pull', `a/${i}`)
  t.ok(ask(edge, 'pull', 'a/b'))
})

t.test('a subject is matched by its parts: a comma in a common name makes none', async (t) => {
  const forged: Subject = {
    key: 'forged',
    certificate: {
      commonName: 'edge-1,O=Example',
      subject: 'CN=edge-1\\,O=Example',
      dnsNames: [],
      uris: [],
    },
  }
  for (const pattern of ['CN=edge-*,O=Example', 'CN=*,O=Example', '*,O=Example']) {
    const { decide } = policy([{ who: { subject: [pattern] } }])
    t.ok(decide(edge, 'pull', repository).allowed, pattern)
    t.notOk(decide(forged, 'pull', repository).allowed, pattern)
  }
})

t.test('names that a certificate does not have match nothing', async (t) => {
  const nameless: Subject = {
    key: 'nameless',
    certificate: { commonName: '', subject: '', dnsNames: [], uris: [] },
    token: { issuer: '', subject: '', groups: [], claims: {} },
  }
  for (const key of ['cn', 'subject', 'issuer', 'dns', 'uri', 'group'] as const) {
    const { decide } = policy([{ who: { [key]: ['*'] } }])
    t.notOk(decide(nameless, 'pull', repository).allowed, key)
  }
})

t.test('a SPIFFE ID in capitals is none, whatever the pattern', async (t) => {
  const { certificate } = edge
  if (certificate === undefined) throw new Error('no certificate')
  const { spiffeId: _, ...names } = certificate
  for (const uri of ['SPIFFE://example/a', 'Spiffe://example/a', 'spiffe:a']) {
    const subject: Subject = { key: uri, certificate: { ...names, uris: [uri] } }
    for (const pattern of ['**', 'SPIFFE://**', '*://example/a', 'spiffe:*']) {
      const { decide } = policy([{ who: { uri: [pattern] } }])
      t.notOk(decide(subject, 'pull', repository).allowed, `${pattern} and ${uri}`)
    }
  }
  t.ok(policy([{ who: { uri: ['**'] } }]).decide(edge, 'pull', repository).allowed, 'an SVID does')
})
