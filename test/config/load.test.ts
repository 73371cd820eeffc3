// The config loader: defaults, paths, units, and every problem at once with its path and line.
import { homedir } from 'node:os'
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { endpointsOf } from '../../src/config/upstream/endpoints.ts'
import { effectiveConfig, loadConfig } from '../../src/config/load.ts'
import type { Problem } from '../../src/errors.ts'
import { problemsOf } from '../helpers/problems.ts'

const tls = 'listen: { tls: { cert: server.crt, key: server.key } }\n'

async function load(t: Test, yaml: string) {
  return loadConfig(join(t.testdir({ 'gateway.yaml': yaml }), 'gateway.yaml'))
}

async function problems(t: Test, yaml: string): Promise<readonly Problem[]> {
  return problemsOf(load(t, yaml))
}

/** `path: message` of every problem, without the line numbers. */
async function told(t: Test, yaml: string): Promise<string[]> {
  const found = await problems(t, yaml)
  return found.map(({ path, message }) => `${path}: ${message.replace(/ \(line \d+\)$/, '')}`)
}

t.test('fills in defaults, also inside the values of `upstreams`', async (t) => {
  const config = await load(t, `${tls}upstreams:\n  docker.io:\n  registry.local: { tls: {} }\n`)
  t.equal(config.listen.port, 5443)
  t.equal(config.listen.tls.clientAuth, 'none')
  t.equal(config.cache.memoryBytes, 128 * 2 ** 20)
  t.equal(config.upstreams['docker.io']?.url, 'https://registry-1.docker.io')
  t.ok(config.upstreams['docker.io']?.redirects.includes('production.cloudflare.docker.com'))
  t.match(config.upstreams['registry.local'], {
    url: 'https://registry.local',
    tls: { verify: true },
    auth: { realms: [] },
    redirects: [],
    tagTtl: 300_000,
    staleIfError: 30 * 86_400_000,
    staleIfDenied: 30 * 86_400_000,
    connectTimeout: 5000,
  })
})

t.test('resolves paths against the folder of the file, and ~', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `
listen: { tls: { cert: certs/server.crt, key: /etc/server.key, clientCa: [../ca.crt] } }
cache: { dir: ~/cache }
upstreams:
  local: { tls: { pfx: gateway.p12 }, auth: { dockerConfig: ~/.docker/config.json } }
`,
  })
  const config = await loadConfig(join(folder, 'gateway.yaml'))
  t.equal(config.listen.tls.cert, join(folder, 'certs/server.crt'))
  t.equal(config.listen.tls.key, '/etc/server.key')
  t.same(config.listen.tls.clientCa, [join(folder, '../ca.crt')])
  t.equal(config.cache.dir, join(homedir(), 'cache'))
  t.equal(config.upstreams['local']?.tls.pfx, join(folder, 'gateway.p12'))
  t.equal(config.upstreams['local']?.auth.dockerConfig, join(homedir(), '.docker/config.json'))
})

t.test('tells every problem at once, in the order of the file, with its line', async (t) => {
  const found = await problems(
    t,
    `listen:
  port: high
  tls:
    crt: server.crt
cache:
  memoryBytes: lots
upstreams:
  docker.io:
    tls: { verify: maybe }
    tagTtl: 5
defaultUpstream: quay.io
`,
  )
  t.same(found, [
    { path: 'listen.port', message: 'must be a whole number from 0 to 65535 (line 2)' },
    { path: 'listen.tls.crt', message: 'is no known key; did you mean cert or crl? (line 4)' },
    { path: 'cache.memoryBytes', message: 'must be a size such as 50GiB (line 6)' },
    { path: 'upstreams.docker.io.tls.verify', message: 'must be true or false (line 9)' },
    {
      path: 'upstreams.docker.io.tagTtl',
      message: 'must be a duration such as 5m, or never (line 10)',
    },
    {
      path: 'defaultUpstream',
      message: 'must be one of docker.io, as configured under upstreams (line 11)',
    },
  ])
})

t.test('refuses unknown keys and says what was meant', async (t) => {
  t.same(
    await told(
      t,
      `${tls}ofline: true\nadmin: { cert: x }\nupstreams: { a: { url: https://a, auth: { password: x } } }`,
    ),
    [
      'ofline: is no known key; did you mean offline?',
      'admin.cert: is no known key; did you mean tls.cert?',
      'upstreams.a.auth.password: is no known key; did you mean passwordFile or passwordEnv?',
    ],
  )
})

t.test('refuses values of the wrong kind', async (t) => {
  t.same(
    await told(
      t,
      `${tls}log: [info]\nadmin: { tls: { clientCa: ca.crt, minVersion: SSLv3 } }\noffline: 'yes'\ncache: { dir: '' }`,
    ),
    [
      'log: must be a section with keys of its own',
      'admin.tls.clientCa: must be a list',
      'admin.tls.minVersion: must be one of TLSv1.2, TLSv1.3',
      'offline: must be true or false',
      'cache.dir: must be the path of a file or folder',
    ],
  )
})

t.test('an empty list entry or list is never taken for no client CA', async (t) => {
  const listen = (clientCa: string) =>
    `listen: { tls: { cert: a, key: b, clientAuth: required, clientCa: ${clientCa} } }`
  t.same(await told(t, listen('')), ['listen.tls.clientCa: must be a list'])
  t.same(await told(t, listen('[~]')), [
    'listen.tls.clientCa.0: must be the path of a file or folder',
  ])
})

t.test('refuses limits of zero, names and hosts that are none', async (t) => {
  t.same(
    await told(
      t,
      `${tls}upstreams:
  Docker.io: {}
  local:
    connectTimeout: 0s
    redirects: ['*', 'https://cdn.example', 'prod-*.s3.*.example.com']
`,
    ),
    [
      "upstreams.Docker.io: the name must be a registry's lower-case host name such as docker.io or registry.local:5000",
      'upstreams.local.connectTimeout: must be a duration above zero such as 20s',
      'upstreams.local.redirects.0: must be a lower-case host name such as cdn.example or *.cdn.example',
      'upstreams.local.redirects.1: must be a lower-case host name such as cdn.example or *.cdn.example',
    ],
  )
})

t.test('files that cannot be a config', async (t) => {
  const folder = t.testdir({ 'empty.yaml': '# nothing\n', 'list.yaml': '- a\n' })
  const refused = async (file: string, path: string, message: RegExp) => {
    t.match(await problemsOf(loadConfig(file)), [{ path, message }])
  }
  const missing = join(folder, 'missing.yaml')
  const empty = join(folder, 'empty.yaml')
  await refused(missing, missing, /does not exist/)
  await refused(folder, folder, /is a folder/)
  await refused(empty, empty, /is empty/)
  await refused(join(folder, 'list.yaml'), 'the config', /must be a section/)
})

t.test('YAML mistakes are told with line and column', async (t) => {
  const [duplicate] = await problems(t, 'offline: true\nlog: {}\noffline: false\n')
  t.match(duplicate, { path: /gateway\.yaml$/, message: /unique.*\(line 3, column 1\)/ })
  const [open] = await problems(t, 'listen: { port: 1\n')
  t.match(open?.message, /line/)
  const [second] = await problems(t, 'offline: true\n---\noffline: false\n')
  t.match(second?.message, /^has a second document behind ---: keep one \(line 2, column 1\)/)
  const [deep] = await problems(t, `a: ${'['.repeat(5000)}`)
  t.match(deep?.message, /^is nested too deeply/)
  const bomb = [1, 2, 3, 4, 5, 6, 7, 8].map(
    (level) =>
      `a${level}: &a${level} [${Array(9)
        .fill(level === 1 ? 'x' : `*a${level - 1}`)
        .join(', ')}]`,
  )
  const [expanded] = await problems(t, bomb.join('\n'))
  t.match(expanded?.message, /alias/)
})

t.test('a key called __proto__ is only an unknown key', async (t) => {
  t.same((await told(t, `${tls}__proto__: { offline: true }`)).length, 1)
  t.equal('offline' in {}, false)
})

t.test('the effective config loads again and means the same', async (t) => {
  const config = await load(
    t,
    `${tls}upstreams: { docker.io: { tagTtl: 90s, staleIfError: 0s }, 'local:5000': { url: http://127.0.0.1:5000/ } }
cache: { memoryBytes: 1500kB }
defaultUpstream: docker.io
`,
  )
  const again = join(t.testdirName, 'again.yaml')
  await writeFile(again, effectiveConfig(config))
  t.same(await loadConfig(again), config)
  t.match(effectiveConfig(config), /tagTtl: 90s/)
})

t.test('the time of a tag, by patterns too', async (t) => {
  const ttl = async (yaml: string) =>
    (await load(t, `${tls}upstreams: { a: { tagTtl: ${yaml} } }`)).upstreams['a']?.tagTtl
  const never = Number.POSITIVE_INFINITY
  t.equal(await ttl('never'), never)
  t.same(await ttl("{ 'v*': 24h, 'sha-*': never }"), {
    '*': 300_000,
    'v*': 86_400_000,
    'sha-*': never,
  })
  const yaml = "{ '*': 1m, 'sha-*': never }"
  const config = await load(t, `${tls}upstreams: { a: { tagTtl: ${yaml} } }`)
  const again = join(t.testdirName, 'again.yaml')
  await writeFile(again, effectiveConfig(config))
  t.same(await loadConfig(again), config)
  t.same(
    await told(
      t,
      `${tls}upstreams: { a: { tagTtl: { 'v*': soon, 'a/b': 5m } }, b: { tagTtl: [5m], onUpstreamDelete: forget, negativeTtl: -1s, offline: 1 } }`,
    ),
    [
      'upstreams.a.tagTtl.v*: must be a duration such as 5m, or never',
      'upstreams.a.tagTtl.a/b: the name must be a tag, with * for any part of it, such as v*',
      'upstreams.b.tagTtl: must be a duration such as 5m, or never',
      'upstreams.b.onUpstreamDelete: must be one of keep, drop',
      'upstreams.b.negativeTtl: must be a duration such as 5m',
      'upstreams.b.offline: must be true or false',
    ],
  )
})

t.test('endpoints, alone or after the url of the upstream', async (t) => {
  const config = await load(
    t,
    `${tls}upstreams:
  alone: { endpoints: [{ url: https://a/, gateway: true }, { url: https://b, tls: { ca: ca.crt } }] }
  both: { url: https://c, tagTtl: 1m, proxy: http://p, endpoints: [{ url: https://d }] }
`,
  )
  const of = (name: string) => {
    const upstream = config.upstreams[name]
    return upstream && endpointsOf(name, upstream)
  }
  t.match(of('alone'), [
    { at: 'upstreams.alone.endpoints.0', config: { url: 'https://a', gateway: true } },
    { at: 'upstreams.alone.endpoints.1', config: { url: 'https://b', tls: { ca: /ca\.crt$/ } } },
  ])
  t.match(of('both'), [
    { at: 'upstreams.both', config: { url: 'https://c', tagTtl: 60_000, proxy: 'http://p' } },
    { at: 'upstreams.both.endpoints.0', config: { url: 'https://d', tagTtl: 60_000 } },
  ])
  t.equal(of('both')?.[1]?.config.proxy, undefined, 'each has a proxy of its own')
  const again = join(t.testdirName, 'again.yaml')
  await writeFile(again, effectiveConfig(config))
  t.same(await loadConfig(again), config)
  t.same(
    await told(
      t,
      `${tls}upstreams: { a: { endpoints: [{ gateway: true }, { url: https://a, tagTtl: 5m }], quotaFloor: -1 }, b: { gateway: yes please, endpoints: {} } }`,
    ),
    [
      'upstreams.a.endpoints.0.url: is missing; must be a text that is not empty',
      'upstreams.a.endpoints.1.tagTtl: is no known key; known here are url, gateway, tls, auth, proxy',
      'upstreams.a.quotaFloor: must be a whole number from 0 to 1000000',
      'upstreams.b.gateway: must be true or false',
      'upstreams.b.endpoints: must be a list',
    ],
  )
})

t.test('a subject that is no text is told, whatever stands there', async (t) => {
  const file = join(t.testdir({}), 'gateway.yaml')
  for (const wrong of ['[[]]', '[{}]', '[null]', '[1]']) {
    await writeFile(file, `policy: { rules: [{ who: { subject: ${wrong} } }] }\n`)
    await t.rejects(loadConfig(file), { message: /policy\.rules\.0\.who\.subject\.0: / }, wrong)
  }
})
