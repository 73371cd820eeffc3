import t from 'tap'
import type { RuleConfig } from '../../src/config/access-schema.ts'
import { policyWarnings } from '../../src/policy/warnings.ts'

const issuer = {
  issuer: 'https://idp.example',
  audience: ['a'],
  jwks: '/keys',
  algorithms: ['ES256' as const],
  clockSkew: 0,
  groupsClaim: 'groups',
}

function warnings(
  rules: Partial<RuleConfig>[],
  { issuers = [issuer], certificates = true, upstreams = ['docker.io', 'quay.io'] } = {},
) {
  return policyWarnings({
    policy: {
      default: 'deny',
      rules: rules.map((rule) => ({
        repositories: ['**'],
        actions: ['pull', 'list', 'token'],
        effect: 'allow',
        ...rule,
      })),
    },
    auth: { require: 'none', issuers },
    upstreams,
    certificates,
  }).map(({ at, message }) => `${at.join('.')}: ${message}`)
}

t.test('a rule that an earlier one covers', async (t) => {
  const [first, ...others] = warnings([
    { name: 'all', who: { cn: ['edge-*'] } },
    { who: { cn: ['edge-1'] }, repositories: ['docker.io/**'], actions: ['pull'] },
    { who: { cn: ['site-1'] } },
  ])
  t.match(first, /^policy\.rules\.1: can never be reached: all matches/)
  t.same(others, [])
  t.equal(warnings([{}, { who: { anonymous: true } }]).length, 1)
  t.equal(warnings([{ who: { anonymous: false } }, { who: { cn: ['x'] } }]).length, 1)
})

t.test('rules that only look alike are left in peace', async (t) => {
  t.same(warnings([{ who: { anonymous: true } }, { who: { cn: ['x'] } }]), [])
  t.same(warnings([{ who: { cn: ['x'] } }, {}]), [])
  t.same(warnings([{ actions: ['pull'] }, { actions: ['list'] }]), [])
  t.same(warnings([{ actions: ['pull'] }, { actions: ['pull', 'list'] }]), [])
  t.same(warnings([{ repositories: ['docker.io/*'] }, { repositories: ['docker.io/**'] }]), [])
  t.same(warnings([{ who: { cn: ['x'], dns: ['y'] } }, { who: { cn: ['x'] } }]), [])
  t.same(
    warnings([
      { who: { subject: ['*'] } },
      { who: { issuer: ['https://idp.example'], subject: ['alice'] } },
    ]),
    [],
  )
})

t.test('patterns for upstreams that are not there', async (t) => {
  const [foreign, bare, ...others] = warnings([
    { repositories: ['docker.io/**', 'ghcr.io/**'] },
    { repositories: ['quay.io', '*.io/a/*', '**/app'], who: { cn: ['x'] } },
  ])
  t.match(foreign, /^policy\.rules\.0\.repositories\.1: ghcr\.io\/\*\* matches no configured/)
  t.match(bare, /^policy\.rules\.1\.repositories\.0: quay\.io matches no repository: write quay/)
  t.same(others, [])
})

t.test('names that nobody here can have', async (t) => {
  t.match(warnings([{ who: { cn: ['x'] } }], { certificates: false }), [
    /rules\.0\.who\.cn: .*none/,
  ])
  t.match(warnings([{ who: { group: ['x'] } }], { issuers: [] }), [/who\.group: .*no issuer/])
  t.match(warnings([{ who: { issuer: ['x'], subject: ['y'] } }], { issuers: [] }).length, 2)
  const two = [issuer, { ...issuer, issuer: 'https://other.example' }]
  t.match(warnings([{ who: { group: ['x'] } }], { issuers: two }), [/believed from every issuer/])
})
