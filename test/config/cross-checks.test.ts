// The cross-field rules, each by a config that breaks exactly this one.
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { problemsOf } from '../helpers/problems.ts'

const listen = 'listen: { tls: { cert: a, key: b } }'
const upstream = (keys: string) => `${listen}\nupstreams: { local: { ${keys} } }`

const store = (keys: string) => `${listen}\ncache: { shared: { s3: { bucket: images, ${keys} } } }`
const auth = (keys: string) => `${listen}\nauth: { ${keys} }`
const issuer = (name: string, jwks: string, more = '') =>
  `{ issuer: ${name}, audience: x, jwks: '${jwks}'${more} }`
const issuers = (...list: string[]) => auth(`issuers: [${list.join(', ')}]`)

/** Of gateways that could be replicas but for what is given. */
const replicas = (keys: string) => {
  const whole = { identity: '[r]', tls: '{ cert: c, key: k }' }
  const others = Object.entries(whole).filter(([key]) => !keys.includes(`${key}:`))
  return `listen: { tls: { cert: a, key: b, clientAuth: required, clientCa: [c] } }
replicas: { ${[keys, ...others.map(([key, value]) => `${key}: ${value}`)].join(', ')} }`
}

const broken: [yaml: string, path: string, message: RegExp][] = [
  ['offline: true', 'listen.tls.cert', /is missing.*insecureHttp/],
  ['listen: { tls: { cert: a } }', 'listen.tls.key', /is missing/],
  ['listen: { tls: { key: a } }', 'listen.tls.cert', /is missing/],
  ['listen: { insecureHttp: true, tls: { cert: a, key: b } }', 'listen.insecureHttp', /keep one/],
  [
    'listen: { insecureHttp: true, tls: { clientAuth: required, clientCa: [a] } }',
    'listen.tls.clientAuth',
    /needs TLS/,
  ],
  [
    'listen: { tls: { cert: a, key: b, clientAuth: optional } }',
    'listen.tls.clientCa',
    /is empty but clientAuth is optional/,
  ],
  ['listen: { tls: { cert: a, key: b, crl: [c] } }', 'listen.tls.crl', /clientAuth is none/],
  [
    'listen: { tls: { cert: a, key: b, crlMaxStale: 1d } }',
    'listen.tls.crlMaxStale',
    /no effect without crl/,
  ],
  [`${listen}\nadmin: { host: 0.0.0.0 }`, 'admin.host', /loopback/],
  [`${listen}\nadmin: { host: '::' }`, 'admin.host', /loopback/],
  [`${listen}\nadmin: { port: 5443 }`, 'admin.port', /also the port of listen/],
  [
    `${listen}\nadmin: { tls: { clientAuth: required, clientCa: [a] } }`,
    'admin.tls.clientAuth',
    /needs TLS/,
  ],
  [replicas('list: [a:1, b:1, a:1]'), 'replicas.list.2', /in the list twice/],
  [replicas('list: [a:1], dns: b'), 'replicas.dns', /exclude each other/],
  [replicas('list: [a:1], self: b:1'), 'replicas.self', /one of list/],
  [replicas('list: [a:1], identity: []'), 'replicas.identity', /is missing/],
  [replicas("dns: a, identity: [r, '*']"), 'replicas.identity.1', /names everybody/],
  [replicas('dns: a, tls: {}'), 'replicas.tls.cert', /is missing/],
  [replicas('dns: a, tls: { cert: c }'), 'replicas.tls.key', /is missing/],
  [
    `${listen}\nreplicas: { dns: a, identity: [r], tls: { cert: c, key: k } }`,
    'replicas.identity',
    /needs client certificates/,
  ],
  [upstream('endpoints: [{ url: ftp://a }]'), 'upstreams.local.endpoints.0.url', /https:\/\//],
  [
    upstream('endpoints: [{ url: https://a, tls: { cert: a } }]'),
    'upstreams.local.endpoints.0.tls.key',
    /is missing/,
  ],
  [
    upstream('endpoints: [{ url: https://a, auth: { username: a } }]'),
    'upstreams.local.endpoints.0.auth.username',
    /needs its password/,
  ],
  [
    upstream('tls: { ca: a }, endpoints: [{ url: https://a }]'),
    'upstreams.local.tls',
    /no effect without url/,
  ],
  [
    upstream('auth: { fallback: none }, endpoints: [{ url: https://a }]'),
    'upstreams.local.auth',
    /no effect without url/,
  ],
  [
    upstream('gateway: true, endpoints: [{ url: https://a }]'),
    'upstreams.local.gateway',
    /no effect without url/,
  ],
  [upstream('gateway: true'), 'upstreams.local.url', /is missing: gateway needs/],
  [upstream('url: ftp://a'), 'upstreams.local.url', /https:\/\//],
  [upstream('url: nginx.local'), 'upstreams.local.url', /https:\/\//],
  [upstream('url: https://me:pw@a'), 'upstreams.local.url', /user name or password/],
  [upstream('url: https://a/?b=c'), 'upstreams.local.url', /query/],
  [upstream('url: https://a/v2/'), 'upstreams.local.url', /must not end in \/v2/],
  [upstream('url: http://a, tls: { verify: false }'), 'upstreams.local.tls', /no effect/],
  [upstream('url: http://a, tls: { ca: a }'), 'upstreams.local.tls', /no effect/],
  [upstream('tls: { cert: a }'), 'upstreams.local.tls.key', /is missing/],
  [upstream('tls: { key: a }'), 'upstreams.local.tls.cert', /is missing/],
  [upstream('tls: { cert: a, key: b, pfx: c }'), 'upstreams.local.tls.pfx', /beside/],
  [upstream('tls: { passphraseFile: a }'), 'upstreams.local.tls.passphraseFile', /nothing to open/],
  [
    upstream('auth: { username: a, passwordFile: b, passwordEnv: PATH }'),
    'upstreams.local.auth.passwordEnv',
    /keep one/,
  ],
  [upstream('auth: { username: a }'), 'upstreams.local.auth.username', /needs its password/],
  [upstream('auth: { passwordFile: a }'), 'upstreams.local.auth.username', /is missing/],
  [
    upstream('auth: { username: a, passwordEnv: PORTCULLIS_TEST_UNSET }'),
    'upstreams.local.auth.passwordEnv',
    /PORTCULLIS_TEST_UNSET, which is not set/,
  ],
  [
    upstream('auth: { username: a, passwordFile: b, dockerConfig: c }'),
    'upstreams.local.auth.dockerConfig',
    /keep one/,
  ],
  [upstream('proxy: socks5://a:1080'), 'upstreams.local.proxy', /https:\/\//],
  [upstream('proxy: http://me:pw@a'), 'upstreams.local.proxy', /user name or password/],
  [upstream('proxy: http://a/b'), 'upstreams.local.proxy', /path/],
  [
    `${listen}\nupstreams: { docker.io: {}, index.docker.io: {} }`,
    'upstreams.index.docker.io',
    /same registry as docker.io/,
  ],
  [`${listen}\ncache: { shared: {} }`, 'cache.shared.s3', /^is missing; must be a section/],
  [store('endpoint: http://a, tls: { ca: b }'), 'cache.shared.s3.tls', /write https in endpoint/],
  [store('endpoint: http://a, tls: { verify: false }'), 'cache.shared.s3.tls', /no effect/],
  [store('tls: { cert: a }'), 'cache.shared.s3.tls.key', /is missing/],
  [
    store('credentials: { file: a, tokenFile: b, roleArn: c }'),
    'cache.shared.s3.credentials.tokenFile',
    /beside file/,
  ],
  [store('credentials: { profile: a }'), 'cache.shared.s3.credentials.profile', /without file/],
  [store('credentials: { tokenFile: a }'), 'cache.shared.s3.credentials.tokenFile', /set roleArn/],
  [store('credentials: { roleArn: a }'), 'cache.shared.s3.credentials.roleArn', /set tokenFile/],
  [`${listen}\ndefaultUpstream: a`, 'defaultUpstream', /needs an upstream/],
  [auth('require: certificate'), 'auth.require', /listen\.tls\.clientAuth/],
  [auth('require: token'), 'auth.require', /auth\.issuers or auth\.tokenService/],
  [auth('require: any'), 'auth.require', /clientAuth, auth\.issuers or/],
  [auth('realm: gateway.local'), 'auth.realm', /https:\/\//],
  [issuers(issuer('a', 'http://a/jwks')), 'auth.issuers.0.jwks', /must be https/],
  [
    issuers(issuer('a', 'jwks.json', ', jwksCa: b')),
    'auth.issuers.0.jwksCa',
    /no effect on a file/,
  ],
  [issuers(issuer('a', 'b', ', clockSkew: 6m')), 'auth.issuers.0.clockSkew', /five minutes/],
  [issuers(issuer('a', 'b'), issuer('a', 'c')), 'auth.issuers.1.issuer', /there already/],
  [auth('tokenService: { key: a }'), 'auth.tokenService', /set htpasswd, or/],
  [
    auth(`tokenService: { key: a, htpasswd: b, issuer: c }, issuers: [${issuer('c', 'd')}]`),
    'auth.issuers.0.issuer',
    /tokenService\.issuer/,
  ],
  [
    `${listen}\npolicy: { rules: [{ name: a }, { name: a, effect: deny }] }`,
    'policy.rules.1.name',
    /another rule/,
  ],
]

for (const [yaml, path, message] of broken) {
  t.test(yaml.replace(`${listen}\n`, ''), async (t) => {
    const file = join(t.testdir({ 'gateway.yaml': yaml }), 'gateway.yaml')
    const problems = await problemsOf(loadConfig(file))
    t.equal(problems.length, 1, JSON.stringify(problems))
    t.equal(problems[0]?.path, path)
    t.match(problems[0]?.message, message)
    t.notMatch(problems[0]?.message, /pw/, 'no password is repeated')
  })
}

t.test('what is missing is not told where a wrong key may be the reason', async (t) => {
  const yaml =
    'listen: { insecureHttp: sure }\nupstreams: { local: { auth: { username: a, pasword: b } } }'
  const file = join(t.testdir({ 'gateway.yaml': yaml }), 'gateway.yaml')
  const paths = (await problemsOf(loadConfig(file))).map(({ path }) => path)
  t.same(paths, ['listen.insecureHttp', 'upstreams.local.auth.pasword'])
})
