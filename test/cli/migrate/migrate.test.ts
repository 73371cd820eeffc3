// Configs as people have them become configs that load, and nothing is dropped without a note.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { runCommand } from '../../helpers/command.ts'

async function migrate(t: Test, program: string, text: string) {
  const folder = t.testdir({ theirs: text })
  const result = await runCommand(['migrate', program, join(folder, 'theirs')])
  t.equal(result.stderr, '')
  t.equal(result.status, 0)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, result.stdout)
  const notes = [...result.stdout.matchAll(/^# ([^ ]+): (.*)$/gm)]
  return {
    config: await loadConfig(file),
    text: result.stdout,
    notes: new Map(notes.map(([, path = '', message = '']) => [path, message])),
    folder,
  }
}

process.env['HUB_PASSWORD'] = 'of the tests'

t.test('ociregistry', async (t) => {
  const { config, notes, text, folder } = await migrate(
    t,
    'ociregistry',
    `imagePath: /var/lib/ociregistry
logLevel: trace
port: 9090
pullTimeout: 30000
alwaysPullLatest: true
airGapped: true
helloWorld: true
health: 8081
preloadImages: /etc/images
registries:
- name: my-corp-registry.myco.org:8888
  description: ours
  auth: { user: theuser, password: hunter2 }
  tls: { ca: /my/ca.crt, cert: /my/client.cert, key: /my/client.key, insecureSkipVerify: false }
- name: index.docker.io
  auth: { user: robot, passwordFromEnv: HUB_PASSWORD }
  tls: { insecureSkipVerify: true }
- name: lab:5001
  scheme: http
pruneConfig: { enabled: true, duration: 30d, type: accessed }
serverTlsConfig: { cert: server.crt, key: server.key, ca: ca.crt, clientAuth: verify }
`,
  )
  t.match(config, {
    listen: {
      port: 9090,
      tls: { clientAuth: 'required', clientCa: [join(folder, 'ca.crt')] },
    },
    admin: { port: 8081 },
    offline: true,
    log: { level: 'debug' },
    defaultUpstream: 'docker.io',
    upstreams: {
      'docker.io': { tls: { verify: false }, auth: { passwordEnv: 'HUB_PASSWORD' } },
      'my-corp-registry.myco.org:8888': {
        tls: { ca: '/my/ca.crt', cert: '/my/client.cert', verify: true },
        auth: { username: 'theuser', passwordFile: /secrets.my-corp-registry\.myco\.org-8888$/ },
        headersTimeout: 30_000,
      },
      'lab:5001': { url: 'http://lab:5001' },
    },
  })
  t.notMatch(text, 'hunter2', 'no secret goes on')
  t.match(notes.get('registries.0.auth.password'), /secrets/)
  t.match(notes.get('pruneConfig'), /portcullis prune/)
  t.match(notes.get('helloWorld'), /no counterpart/)
  t.match(notes.get('preloadImages'), /portcullis preload/)
})

t.test('ociregistry as it was before: a list of registries, plain HTTP', async (t) => {
  const { config, notes } = await migrate(
    t,
    'ociregistry',
    `- name: quay.io
- name: foo.bar.io
  tls: { insecure_skip_verify: true }
`,
  )
  t.match(config, {
    listen: { insecureHttp: true, port: 8080 },
    upstreams: { 'quay.io': {}, 'foo.bar.io': { tls: { verify: false } } },
  })
  t.match(notes.get('0.tls'), /not checked without/)
})

t.test('distribution', async (t) => {
  const { config, notes, text } = await migrate(
    t,
    'distribution',
    `version: 0.1
log: { level: warn, fields: { service: registry } }
storage:
  filesystem: { rootdirectory: /var/lib/registry }
  delete: { enabled: true }
http:
  addr: 127.0.0.1:5000
  secret: asecret
  headers: { X-Content-Type-Options: [nosniff] }
  tls:
    certificate: /certs/domain.crt
    key: /certs/domain.key
    clientcas: [/certs/ca.pem]
    clientauth: verify-client-cert-if-given
    minimumtls: tls1.3
  debug: { addr: ':5001', prometheus: { enabled: true } }
proxy: { remoteurl: 'https://registry-1.docker.io', username: me, password: hunter2, ttl: 168h }
auth:
  htpasswd: { realm: basic, path: /auth/htpasswd }
`,
  )
  t.match(config, {
    listen: {
      host: '127.0.0.1',
      port: 5000,
      tls: { clientAuth: 'optional', minVersion: 'TLSv1.3', clientCa: ['/certs/ca.pem'] },
    },
    admin: { port: 5001 },
    auth: { require: 'token', tokenService: { htpasswd: '/auth/htpasswd' } },
    upstreams: { 'docker.io': { auth: { username: 'me' } } },
    defaultUpstream: 'docker.io',
    log: { level: 'warn' },
  })
  t.notMatch(text, /hunter2|asecret/)
  t.same(
    ['log.fields', 'http.headers'].map((path) => notes.get(path)),
    ['has no counterpart here', 'has no counterpart here'],
  )
  t.ok(notes.has('proxy.ttl'))
})

t.test('distribution that is no mirror has no counterpart', async (t) => {
  const file = join(t.testdir({ theirs: 'version: 0.1\nhttp: { addr: :5000 }\n' }), 'theirs')
  const { status, stderr } = await runCommand(['migrate', 'distribution', file])
  t.equal(status, 2)
  t.match(stderr, /^proxy\.remoteurl: is missing/)
})

t.test('Harbor, by its API', async (t) => {
  const { config, notes } = await migrate(
    t,
    'harbor',
    JSON.stringify({
      registries: [
        {
          id: 1,
          name: 'hub',
          url: 'https://hub.docker.com',
          type: 'docker-hub',
          credential: { type: 'basic', access_key: 'me', access_secret: '*****' },
          insecure: false,
        },
        {
          id: 2,
          name: 'ours',
          url: 'https://registry.myco.org:8443',
          type: 'harbor',
          insecure: true,
        },
      ],
      projects: [
        { project_id: 5, name: 'dockerhub', registry_id: 1 },
        { project_id: 6, name: 'library' },
      ],
    }),
  )
  t.match(config, {
    upstreams: {
      'docker.io': { auth: { username: 'me' } },
      'registry.myco.org:8443': { tls: { verify: false } },
    },
    defaultUpstream: 'docker.io',
  })
  t.equal(notes.get('projects.0'), 'images of dockerhub/… are asked for as docker.io/…')
  t.match(notes.get('projects.1'), /no proxy cache/)
})

t.test('Harbor, by harbor.yml', async (t) => {
  const { config, notes } = await migrate(
    t,
    'harbor',
    `hostname: reg.mydomain.com
http: { port: 80 }
https: { port: 8443, certificate: /your/cert.crt, private_key: /your/cert.key }
harbor_admin_password: Harbor12345
database: { password: root123, max_idle_conns: 100 }
data_volume: /data
log: { level: warning, local: { rotate_count: 50 } }
proxy: { http_proxy: 'http://proxy:3128', https_proxy: , no_proxy: , components: [core] }
`,
  )
  t.match(config, {
    listen: { port: 8443, tls: { cert: '/your/cert.crt' } },
    upstreams: { 'docker.io': { proxy: 'http://proxy:3128' } },
    log: { level: 'warn' },
  })
  t.equal(notes.get('database'), 'has no counterpart here')
  t.equal(notes.get('log.local'), 'has no counterpart here')
})

t.test('what is no config, or of no program, is told', async (t) => {
  const folder = t.testdir({
    broken: 'a: [',
    empty: '',
    distribution: 'proxy: { remoteurl: "https://[::" }',
    harbor: '[{ id: 1, name: hub }]',
    ociregistry: 'registries: [{ name: "quay.io" }, { description: ours }]',
  })
  const told = async (...args: string[]) => {
    const { status, stdout, stderr } = await runCommand(['migrate', ...args])
    t.equal(status, 2)
    t.equal(stdout, '')
    return stderr
  }
  t.match(await told('harbor', join(folder, 'broken')), /is no YAML/)
  t.match(await told('harbor', join(folder, 'empty')), /holds no sections/)
  t.match(await told('harbor', join(folder, 'missing')), /cannot be read \(ENOENT\)/)
  const addresses = {
    distribution:
      'proxy.remoteurl: "https://[::" is no address of a registry: name its host or URL\n',
    harbor: '0.url: "" is no address of a registry: name its host or URL\n',
    ociregistry:
      'registries.1.name: "https://" is no address of a registry: name its host or URL\n',
  }
  for (const [program, message] of Object.entries(addresses)) {
    t.equal(await told(program, join(folder, program)), message)
  }
  t.match(
    await told('nexus', join(folder, 'empty')),
    /name ociregistry, or distribution, or harbor/,
  )
})
