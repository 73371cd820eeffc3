import t from 'tap'
import {
  challengeHeader,
  judgeAccess,
  type ChallengeSetting,
  type Shown,
} from '../../src/policy/verdict.ts'

const no: Shown = { certificate: false, token: 'none' }
const cert: Shown = { certificate: true, token: 'none' }
const token: Shown = { certificate: false, token: 'valid' }
const both: Shown = { certificate: true, token: 'valid' }
const bad: Shown = { certificate: false, token: 'invalid' }
const certBad: Shown = { certificate: true, token: 'invalid' }
const everybody = [no, cert, token, both, bad, certBad]

/** 200, 401 or 403 for each of the above. */
const bare: Record<ChallengeSetting['require'], number[]> = {
  none: [200, 200, 200, 200, 401, 401],
  certificate: [403, 200, 403, 200, 403, 200],
  token: [401, 401, 200, 200, 401, 401],
  any: [401, 200, 200, 200, 401, 401],
  all: [403, 401, 403, 200, 401, 401],
}

const allowed = { allowed: true, rule: 'r', reason: '' }
const denied = { allowed: false, rule: 'r', reason: '' }
const unlisted = { allowed: false, rule: 'token', reason: '' }

const afterDenial: typeof bare = {
  none: [401, 403, 403, 403, 401, 401],
  certificate: [403, 403, 403, 403, 403, 403],
  token: [401, 401, 403, 403, 401, 401],
  any: [401, 403, 403, 403, 401, 401],
  all: [403, 401, 403, 403, 401, 401],
}

function status(verdict: ReturnType<typeof judgeAccess>): number {
  return { allow: 200, challenge: 401, deny: 403 }[verdict.kind]
}

for (const require of Object.keys(bare) as ChallengeSetting['require'][]) {
  t.test(`auth.require: ${require}`, async (t) => {
    // Where certificates alone decide, nothing of tokens is configured.
    const setting = { require, tokens: require !== 'certificate', tokensForCertificates: false }
    t.same(
      everybody.map((shown) => status(judgeAccess(setting, shown))),
      bare[require],
    )
    t.same(
      everybody.map((shown) => status(judgeAccess(setting, shown, allowed))),
      bare[require],
    )
    t.same(
      everybody.map((shown) => status(judgeAccess(setting, shown, denied))),
      afterDenial[require],
    )
  })
}

t.test('no challenge where no token can be had', async (t) => {
  const setting = { require: 'any', tokens: false, tokensForCertificates: true } as const
  t.match(judgeAccess(setting, no), { kind: 'deny', reason: 'no_token' })
  t.match(judgeAccess({ ...setting, require: 'none' }, no, denied), {
    kind: 'deny',
    reason: 'policy',
  })
  t.match(judgeAccess({ ...setting, require: 'all' }, cert), {
    kind: 'challenge',
    reason: 'no_token',
  })
})

t.test('a token without the scope may be changed for one with it', async (t) => {
  const setting = { require: 'token', tokens: true, tokensForCertificates: true } as const
  t.match(judgeAccess(setting, token, unlisted), { kind: 'challenge', error: 'insufficient_scope' })
  t.match(judgeAccess(setting, bad), { kind: 'challenge', error: 'invalid_token' })
})

t.test('the header', async (t) => {
  const service = 'portcullis'
  t.equal(
    challengeHeader({
      realm: 'https://gw:5443/token',
      service,
      scope: 'repository:a/b:pull',
      error: 'insufficient_scope',
    }),
    'Bearer realm="https://gw:5443/token",service="portcullis",scope="repository:a/b:pull",error="insufficient_scope"',
  )
  t.equal(challengeHeader({ service }), 'Bearer service="portcullis"')
  t.equal(challengeHeader({ realm: 'https://a"b\r\nc', service: 's' }).includes('\n'), false)
})
