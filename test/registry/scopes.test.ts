// Scopes name repositories as request paths do: a token opens what its scope would as a path.
import { hashSync } from 'bcryptjs'
import t from 'tap'
import { startTestGateway } from '../helpers/gateway.ts'

const alice = { authorization: `Basic ${Buffer.from('alice:secret').toString('base64')}` }

/** Scope, path, and whether the token of the one opens the other. */
const cases: Record<string, [scope: string, path: string, opens: boolean][]> = {
  'registry.test': [
    ['app/hello', 'app/hello', true],
    ['app/hello', 'registry.test/app/hello', true],
    ['registry.test/app/hello', 'app/hello', true],
    ['hello', 'hello', true],
    ['app/hello', 'hello', false],
    ['hello', 'app/hello', false],
  ],
  'docker.io': [
    ['hello', 'hello', true],
    ['hello', 'library/hello', true],
    ['library/hello', 'docker.io/hello', true],
    ['docker.io/library/hello', 'hello', true],
    ['index.docker.io/hello', 'docker.io/library/hello', true],
    ['app/hello', 'app/hello', true],
    ['hello', 'app/hello', false],
  ],
}

for (const [upstream, rows] of Object.entries(cases)) {
  t.test(`with ${upstream} as the default upstream`, async (t) => {
    const { send } = await startTestGateway(
      t,
      `upstreams: { ${upstream}: {}, other.test: {} }
offline: true
defaultUpstream: ${upstream}
auth: { require: token, tokenService: { key: token.key, htpasswd: users } }
policy: { default: deny, rules: [{ repositories: ${upstream}/** }] }
`,
      { files: { users: `alice:${hashSync('secret', 4)}` } },
    )
    for (const [scope, path, opens] of rows) {
      const given = await send(`/token?scope=repository:${scope}:pull`, {
        client: null,
        headers: alice,
      })
      const { token } = JSON.parse(given.body.toString()) as { token: string }
      const headers = { authorization: `Bearer ${token}` }
      const { status } = await send(`/v2/${path}/manifests/1`, { client: null, headers })
      t.equal(status !== 401, opens, `${scope} and ${path}: ${status}`)
      const elsewhere = `/v2/${path}/manifests/1?ns=other.test`
      t.equal((await send(elsewhere, { client: null, headers })).status, 403)
    }
  })
}
