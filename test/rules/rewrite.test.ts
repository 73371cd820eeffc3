// Names of repositories at their upstream, by the rules of the config.
import t from 'tap'
import { createRewriter, ruleProblem, type RewriteRule } from '../../src/rules/rewrite.ts'
import type { Config } from '../../src/config/schema.ts'
import { createChooser } from '../../src/config/upstream-names.ts'
import { namingOf, parseImage } from '../../src/transfer/image-name.ts'

function config(rewrite: RewriteRule[], name = 'up.local') {
  return { upstreams: { [name]: { rewrite } as unknown as Config['upstreams'][string] } }
}

function rewritten(rules: RewriteRule[], repository: string): string {
  return createRewriter(config(rules).upstreams)({ upstream: 'up.local', repository }).repository
}

t.test('the first rule that matches the whole name', async (t) => {
  const rules = [
    { from: 'old-org/**', to: 'new-org/**' },
    { from: 'a.b/app', to: 'c/app' },
    { from: '*/charts/*', to: 'helm/*-*' },
    { from: '**', to: 'virtual/**' },
  ]
  t.equal(rewritten(rules, 'old-org/app'), 'new-org/app')
  t.equal(rewritten(rules, 'old-org/a/b'), 'new-org/a/b')
  t.equal(rewritten(rules, 'old-org'), 'virtual/old-org')
  t.equal(rewritten(rules, 'a.b/app'), 'c/app')
  t.equal(rewritten(rules, 'axb/app'), 'virtual/axb/app', 'a dot is a dot')
  t.equal(rewritten(rules, 'x/charts/y'), 'helm/x-y')
  t.equal(rewritten(rules, 'x/z/charts/y'), 'virtual/x/z/charts/y')
  t.equal(rewritten([{ from: 'mirror/**', to: '**' }], 'mirror/a/b'), 'a/b')
  t.equal(rewritten([{ from: 'a', to: 'b' }], 'c'), 'c')
  t.same(
    createRewriter(config(rules).upstreams)({ upstream: 'other', repository: 'old-org/app' }),
    {
      upstream: 'other',
      repository: 'old-org/app',
    },
  )
})

t.test('what comes out is a name, or an error', async (t) => {
  const rules = [{ from: '**', to: `${'x'.repeat(200)}/**` }]
  t.throws(() => rewritten(rules, 'y'.repeat(60)), { code: 'NAME_INVALID' })
})

t.test('rules that cannot be meant', async (t) => {
  t.equal(ruleProblem({ from: 'a/**', to: 'b/**' }), undefined)
  t.match(ruleProblem({ from: 'a/**', to: 'b' }), /same order/)
  t.match(ruleProblem({ from: 'a/*', to: 'b/**' }), /same order/)
  t.match(ruleProblem({ from: '**/a/**', to: '**/b/**' }), /only/)
})

t.test('clients, policy and command lines see one name', async (t) => {
  const hub = config([{ from: '**', to: 'dockerhub/**' }], 'docker.io')
  const expected = { upstream: 'docker.io', repository: 'dockerhub/library/alpine' }
  const choose = createChooser(hub)
  t.same(choose({ ns: 'docker.io', name: 'alpine' }), expected)
  t.same(choose({ name: 'docker.io/library/alpine' }), expected)
  t.match(parseImage('docker.io/alpine:3', namingOf(hub)), { ...expected, tag: '3' })
})
