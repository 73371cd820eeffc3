// `portcullis check`: output, warnings and exit codes.
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { makeCertificate } from '../helpers/certificates.ts'
import { runCommand } from '../helpers/command.ts'
import { makeSite } from '../helpers/listener.ts'

const check = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  runCommand(['check', ...args], { env })

t.test('prints the effective config, by option or by environment', async (t) => {
  const { folder } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { tls: { cert: server.crt, key: server.key } }
upstreams:
  registry.local:
    auth: { username: robot, passwordEnv: REGISTRY_PASSWORD }
    tls: { verify: false }
`,
  )
  const byOption = await check(['--config', file], { REGISTRY_PASSWORD: 'hunter2' })
  t.equal(byOption.status, 0)
  t.match(byOption.stdout, /url: https:\/\/registry\.local/)
  t.match(byOption.stdout, /passwordEnv: REGISTRY_PASSWORD/)
  t.notMatch(byOption.stdout + byOption.stderr, /hunter2/)
  t.match(byOption.stderr, /^warning: upstreams\.registry\.local\.tls\.verify: /m)
  const byEnvironment = await check([], { REGISTRY_PASSWORD: 'hunter2', PORTCULLIS_CONFIG: file })
  t.equal(byEnvironment.stdout, byOption.stdout)
})

t.test(
  'endpoints: what is asked in which order, and what is wrong with the files of each',
  async (t) => {
    const { folder } = await makeSite(t)
    const file = join(folder, 'gateway.yaml')
    const write = (tls: string) =>
      writeFileSync(
        file,
        `listen: { tls: { cert: server.crt, key: server.key } }
upstreams:
  docker.io:
    endpoints:
      - { url: 'https://region.example:5443', gateway: true, tls: { verify: false } }
      - { url: https://mirror.example, ${tls} }
`,
      )
    write('')
    const { status, stdout, stderr } = await check(['--config', file])
    t.equal(status, 0, stderr)
    t.match(stdout, /gateway: true/)
    t.match(stderr, /^warning: upstreams\.docker\.io\.endpoints\.0\.tls\.verify: /m)
    const first = 'https://region.example:5443/v2/NAME/manifests/TAG?ns=docker.io'
    t.match(
      stderr,
      `upstreams.docker.io.endpoints.0.url: docker.io/NAME:TAG is asked for at ${first}`,
    )
    t.match(
      stderr,
      /endpoints\.1\.url: .* where that does not answer, at https:\/\/mirror\.example\/v2/,
    )
    const explained = await check(['--config', file, '--as', 'anonymous', 'docker.io/alpine'])
    t.match(
      explained.stdout,
      /^ask +https:\/\/region\.example:5443\/v2\/library\/alpine\/\?ns=docker\.io$/m,
    )

    write('tls: { ca: absent.crt }, auth: { username: a, passwordFile: absent }')
    const wrong = await check(['--config', file])
    t.equal(wrong.status, 2)
    t.match(wrong.stderr, /^upstreams\.docker\.io\.endpoints\.1\.tls\.ca: .*absent\.crt/m)
    t.match(wrong.stderr, /^upstreams\.docker\.io\.endpoints\.1\.auth\.passwordFile: /m)
  },
)

t.test('problems of the config and of its files: exit code 2, a line each', async (t) => {
  const { folder, client } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, 'listen: { port: -1 }\nofline: true\n')
  const config = await check(['--config', file])
  t.equal(config.status, 2)
  t.equal(config.stdout, '')
  t.match(config.stderr, /^listen\.port: .*\nofline: .*\n$/)

  writeFileSync(join(folder, 'server.key'), client.keyPem)
  writeFileSync(file, 'listen: { tls: { cert: server.crt, key: server.key } }\n')
  const files = await check(['--config', file])
  t.equal(files.status, 2)
  t.equal(files.stderr, 'listen.tls.key: does not belong to the certificate in cert\n')

  writeFileSync(join(folder, 'token.key'), 'no key')
  writeFileSync(join(folder, 'empty.json'), '{"keys":[]}')
  writeFileSync(
    file,
    `listen: { insecureHttp: true }
auth:
  issuers:
    - { issuer: a, audience: x, jwks: absent.json }
    - { issuer: b, audience: x, jwks: empty.json }
    - { issuer: c, audience: x, jwks: 'https://c.example/jwks', jwksCa: absent.crt }
  tokenService: { key: made-at-start.key, htpasswd: absent.users }
`,
  )
  const ofAuth = await check(['--config', file])
  t.equal(ofAuth.status, 2)
  t.match(
    ofAuth.stderr,
    /^auth\.issuers\.0\.jwks: .*\nauth\.issuers\.1\.jwks: .*\nauth\.issuers\.2\.jwksCa: .*\nauth\.tokenService\.htpasswd: .*\n$/,
  )
  t.notOk(existsSync(join(folder, 'made-at-start.key')), 'a check writes nothing')
  writeFileSync(
    file,
    `listen: { insecureHttp: true }
auth: { tokenService: { key: token.key, htpasswd: absent.users } }
`,
  )
  t.match(await check(['--config', file]), { status: 2, stderr: /^auth\.tokenService\.key: / })

  writeFileSync(
    file,
    `listen: { insecureHttp: true }
upstreams: { registry.local: { tls: { ca: absent.crt }, auth: { dockerConfig: absent.json } } }
`,
  )
  const ofUpstream = await check(['--config', file])
  t.equal(ofUpstream.status, 2)
  t.match(
    ofUpstream.stderr,
    /^upstreams\.registry\.local\.tls\.ca: .*no such file\nupstreams\.registry\.local\.auth\.dockerConfig: .*no such file\n$/,
  )
})

t.test('warns of a private key that everybody can read', async (t) => {
  const { folder } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  const key = join(folder, 'server.key')
  writeFileSync(file, 'listen: { tls: { cert: server.crt, key: server.key } }\n')
  chmodSync(key, 0o640)
  t.notMatch((await check(['--config', file])).stderr, /everybody/)
  chmodSync(key, 0o604)
  const { status, stderr } = await check(['--config', file])
  t.equal(status, 0)
  t.match(stderr, /^warning: listen\.tls\.key: can be read by everybody/m)
})

t.test('warns of certificates that end within 30 days', async (t) => {
  const { folder, ca } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  const notAfter = new Date(Date.now() + 29 * 86_400_000)
  const robot = await makeCertificate({
    subject: 'CN=robot',
    issuer: ca,
    purposes: ['client'],
    notAfter,
  })
  writeFileSync(join(folder, 'robot.crt'), robot.certificatePem)
  writeFileSync(join(folder, 'robot.key'), robot.keyPem, { mode: 0o600 })
  writeFileSync(
    file,
    `listen: { tls: { cert: server.crt, key: server.key } }
upstreams: { registry.local: { tls: { cert: robot.crt, key: robot.key } } }
`,
  )
  const { status, stderr } = await check(['--config', file])
  t.equal(status, 0)
  t.match(stderr, /^warning: upstreams\.registry\.local\.tls\.cert: CN=robot ends on /m)
  t.match(stderr, /^warning: listen\.tls\.cert: CN=localhost ends on /m)
})

t.test('authorities of a token issuer are read as at a start', async (t) => {
  const { folder } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { tls: { cert: server.crt, key: server.key } }
upstreams: { docker.io: {} }
auth:
  issuers:
    - { issuer: 'https://idp.example', audience: a, jwks: 'https://idp.example/keys', jwksCa: idp.crt }
`,
  )
  writeFileSync(join(folder, 'idp.crt'), '')
  const { status, stderr } = await check(['--config', file])
  t.equal(status, 2)
  t.match(stderr, /^auth\.issuers\.0\.jwksCa: .*it is empty/)
})

t.test('a wrong command line: exit code 2', async (t) => {
  t.match(await check([]), { status: 2, stderr: /^--config: is missing/ })
  t.match(await check(['--config', '/nowhere/gateway.yaml']), {
    status: 2,
    stderr: /does not exist/,
  })
  t.match(await check(['--wrong']), { status: 2 })
})

t.test('explains what is asked of an upstream with a path or with other names', async (t) => {
  const file = join(
    t.testdir({
      'c.yaml': `listen: { insecureHttp: true }
upstreams:
  docker.io:
    url: https://harbor.example/v2/dockerhub
    rewrite: [{ from: old/**, to: new/** }]
`,
    }),
    'c.yaml',
  )
  t.match(
    (await check(['--config', file])).stderr,
    'https://harbor.example/v2/dockerhub/NAME/manifests/TAG',
  )
  const { stdout } = await check(['--config', file, '--as', 'anonymous', 'docker.io/old/app'])
  t.match(stdout, 'ask    https://harbor.example/v2/dockerhub/new/app/')
  t.match(stdout, 'pull docker.io/new/app')
})

t.test('explains who may pull what', async (t) => {
  const { folder } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { tls: { cert: server.crt, key: server.key, clientAuth: required, clientCa: [ca.crt] } }
upstreams: { docker.io: {}, quay.io: {} }
defaultUpstream: docker.io
policy:
  default: deny
  rules:
    - { name: nodes, who: { cn: edge-* }, repositories: docker.io/library/* }
    - { who: { group: dev }, repositories: quay.io/**, actions: [pull] }
    - { who: { cn: edge-1 }, repositories: docker.io/library/alpine }
    - { repositories: ghcr.io/** }
`,
  )
  const as = (...args: string[]) => check(['--config', file, ...args])
  const node = await as('--as', 'cn=edge-1', 'alpine')
  t.equal(node.status, 0)
  t.match(node.stdout, /^allow {2}pull docker\.io\/library\/alpine: nodes is the first rule/)
  const other = await as('--as', 'cn=laptop', 'docker.io/library/alpine')
  t.equal(other.status, 1)
  t.match(other.stdout, /^deny {3}pull .*no rule matches, and policy\.default is deny/)
  t.match(
    (await as('--as', 'issuer=https://a,group=dev', 'quay.io/org/app')).stdout,
    /allow {2}pull.*rules\.1/,
  )
  t.match((await as('--as', 'group=dev', 'quay.io/org/app')).stdout, /deny {3}list/)
  t.equal((await as('--as', 'anonymous', 'alpine')).status, 1)
  t.match(await as('--as', 'name=x', 'alpine'), {
    status: 2,
    stderr: /--as: "name=x" is no caller/,
  })
  t.match(await as('alpine'), { status: 2, stderr: /needs a caller and one repository/ })

  const plain = await as()
  t.equal(plain.status, 0)
  t.match(plain.stderr, /policy\.rules\.2: can never be reached: nodes.* \(line 9\)/)
  t.match(plain.stderr, /policy\.rules\.3\.repositories\.0: .*no configured upstream.* \(line 10\)/)
  t.match(plain.stderr, /policy\.rules\.1\.who\.group: matches nobody.* \(line 8\)/)
})
