// What is handed over to each kind of client: the files, where they go, and how to try them.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { createAuthority, issueCertificate } from '../../../src/pki/authority.ts'
import { handovers, handoverTargets, isForRoot } from '../../../src/pki/handover/targets.ts'
import {
  checkRegistries,
  parseGateway,
  type HandoverInput,
} from '../../../src/pki/handover/handover.ts'
import { installScript } from '../../../src/pki/handover/kubernetes.ts'

const ca = await createAuthority({ commonName: 'Test CA' })
const issued = await issueCertificate(ca, { profile: 'client', commonName: 'edge-1' })

const input: HandoverInput = {
  name: 'edge-1',
  gateway: parseGateway('https://gateway.local:5443'),
  registries: ['docker.io', 'registry.local:5000'],
  caPem: ca.certificatePem,
  chainPem: issued.certificatePem,
  keyPem: issued.keyPem,
}

function filesOf(target: keyof typeof handovers, changes: Partial<HandoverInput> = {}) {
  const { files, ...rest } = handovers[target]({ ...input, ...changes }, 'secret')
  return {
    ...rest,
    modes: Object.fromEntries(files.map(({ path, mode }) => [path, mode])),
    text: Object.fromEntries(files.map(({ path, content }) => [path, String(content)])),
  }
}

t.test('containerd: a hosts.toml for each registry, with the gateway as its server', async (t) => {
  const { modes, text, test } = filesOf('containerd')
  t.same(modes, {
    'etc/containerd/portcullis/ca.crt': 0o644,
    'etc/containerd/portcullis/edge-1.crt': 0o644,
    'etc/containerd/portcullis/edge-1.key': 0o600,
    'etc/containerd/certs.d/docker.io/hosts.toml': 0o644,
    'etc/containerd/certs.d/registry.local:5000/hosts.toml': 0o644,
    'etc/containerd/certs.d/gateway.local:5443/hosts.toml': 0o644,
  })
  t.equal(
    text['etc/containerd/certs.d/docker.io/hosts.toml'],
    `server = "https://gateway.local:5443"
ca = "/etc/containerd/portcullis/ca.crt"
client = [["/etc/containerd/portcullis/edge-1.crt", "/etc/containerd/portcullis/edge-1.key"]]

[host."https://gateway.local:5443"]
  capabilities = ["pull", "resolve"]
  ca = "/etc/containerd/portcullis/ca.crt"
  client = [["/etc/containerd/portcullis/edge-1.crt", "/etc/containerd/portcullis/edge-1.key"]]
`,
  )
  t.equal(text['etc/containerd/portcullis/edge-1.key'], issued.keyPem)
  t.match(test, /^ctr images pull --hosts-dir .* docker\.io\/library\/alpine:latest$/)
})

t.test('docker: what both of its image stores read', async (t) => {
  const { modes, text, test } = filesOf('docker')
  const own = 'etc/docker/certs.d/gateway.local:5443'
  t.same(Object.keys(modes), [
    `${own}/ca.crt`,
    `${own}/client.cert`,
    `${own}/client.key`,
    'etc/docker/certs.d/docker.io/hosts.toml',
    'etc/docker/certs.d/registry.local:5000/hosts.toml',
    `${own}/hosts.toml`,
  ])
  t.equal(
    text['etc/docker/certs.d/docker.io/hosts.toml'],
    `server = "https://gateway.local:5443"
ca = "../gateway.local:5443/ca.crt"
client = [["../gateway.local:5443/client.cert", "../gateway.local:5443/client.key"]]

[host."https://gateway.local:5443"]
  capabilities = ["pull", "resolve"]
  ca = "../gateway.local:5443/ca.crt"
  client = [["../gateway.local:5443/client.cert", "../gateway.local:5443/client.key"]]
`,
    'relative to the file, in any folder of certs.d',
  )
  t.equal(test, 'docker pull gateway.local:5443/docker.io/library/alpine:latest')
  const standard = filesOf('docker', { gateway: parseGateway('https://gateway.local:443') })
  t.ok('etc/docker/certs.d/gateway.local/ca.crt' in standard.modes, 'no port where it is 443')
})

t.test('buildkit: mirrors, and how the gateway is trusted', async (t) => {
  const { text, modes, test } = filesOf('buildkit')
  t.equal(
    text['etc/buildkit/buildkitd.toml'],
    `[registry."docker.io"]
  mirrors = ["gateway.local:5443"]

[registry."registry.local:5000"]
  mirrors = ["gateway.local:5443"]

[registry."gateway.local:5443"]
  http = false
  ca = ["/etc/buildkit/portcullis/ca.crt"]
  [[registry."gateway.local:5443".keypair]]
    cert = "/etc/buildkit/portcullis/edge-1.crt"
    key = "/etc/buildkit/portcullis/edge-1.key"
`,
  )
  t.equal(modes['etc/buildkit/portcullis/edge-1.key'], 0o600)
  t.equal(test, 'echo FROM docker.io/library/alpine:latest | docker buildx build -')
})

t.test('podman: every registry has its place at the gateway', async (t) => {
  const { text, modes } = filesOf('podman')
  t.equal(
    text['etc/containers/registries.conf.d/portcullis.conf'],
    `[[registry]]
prefix = "docker.io"
location = "gateway.local:5443/docker.io"

[[registry]]
prefix = "registry.local:5000"
location = "gateway.local:5443/registry.local:5000"
`,
  )
  t.equal(modes['etc/containers/certs.d/gateway.local:5443/client.key'], 0o600)
})

for (const target of ['k3s', 'rke2'] as const) {
  t.test(`${target}: one registries.yaml, in the folder that it reads`, async (t) => {
    const { text } = filesOf(target)
    t.same(parse(text[`etc/rancher/${target}/registries.yaml`] ?? ''), {
      mirrors: {
        'docker.io': { endpoint: ['https://gateway.local:5443'] },
        'registry.local:5000': { endpoint: ['https://gateway.local:5443'] },
      },
      configs: {
        'gateway.local:5443': {
          tls: {
            ca_file: `/etc/rancher/${target}/portcullis/ca.crt`,
            cert_file: `/etc/rancher/${target}/portcullis/edge-1.crt`,
            key_file: `/etc/rancher/${target}/portcullis/edge-1.key`,
          },
        },
      },
    })
    t.match(text[`etc/rancher/${target}/portcullis/edge-1.crt`], issued.certificatePem)
  })
}

t.test(
  'kubernetes: a Secret, and a DaemonSet that lays it out as containerd wants it',
  async (t) => {
    const { text, modes } = filesOf('kubernetes')
    t.same(modes, { 'portcullis-node.yaml': 0o600 })
    const documents = parseAllDocuments(text['portcullis-node.yaml'] ?? '')
    const [secret, daemonSet] = documents.map(
      (document) => document.toJS() as Record<string, never>,
    )
    t.match(secret, { kind: 'Secret', stringData: { 'tls.key': issued.keyPem } })
    t.match(daemonSet, {
      kind: 'DaemonSet',
      spec: {
        template: {
          spec: {
            containers: [{ command: ['sh', '-c', installScript] }],
            volumes: [
              {
                secret: {
                  items: [
                    { key: 'ca.crt', path: 'portcullis/ca.crt' },
                    { key: 'tls.crt', path: 'portcullis/edge-1.crt' },
                    { key: 'tls.key', path: 'portcullis/edge-1.key' },
                    { key: 'docker.io.hosts.toml', path: 'certs.d/docker.io/hosts.toml' },
                    {
                      key: 'registry.local_5000.hosts.toml',
                      path: 'certs.d/registry.local:5000/hosts.toml',
                    },
                    {
                      key: 'gateway.local_5443.hosts.toml',
                      path: 'certs.d/gateway.local:5443/hosts.toml',
                    },
                  ],
                },
              },
              { hostPath: { path: '/etc/containerd' } },
            ],
          },
        },
      },
    })
    const { stringData } = secret as unknown as { stringData: Record<string, string> }
    for (const key of Object.keys(stringData)) t.match(key, /^[-._a-zA-Z0-9]+$/, 'a legal key')
  },
)

t.test('the script of the DaemonSet installs a mounted Secret, and its next version', async (t) => {
  const folder = t.testdir({ node: { 'config.toml': 'kept' } })
  const [source, target] = [join(folder, 'files'), join(folder, 'node')]
  const mount = (version: string, content: string) => {
    const file = join(source, version, 'certs.d/docker.io/hosts.toml')
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content, { mode: 0o600 })
    symlinkSync(version, join(source, '..next'))
    renameSync(join(source, '..next'), join(source, '..data'))
  }
  mount('..1', 'first')
  symlinkSync('..data/certs.d', join(source, 'certs.d'))
  const quick = installScript.replace('sleep 30', 'sleep 0.05')
  const child = spawn('sh', ['-c', quick], {
    env: { PATH: process.env['PATH'], SOURCE: source, TARGET: target },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.teardown(() => child.kill())
  const installed = join(target, 'certs.d/docker.io/hosts.toml')
  const read = () => {
    try {
      return readFileSync(installed, 'utf8')
    } catch {
      return ''
    }
  }
  const until = async (content: string) => {
    for (let turn = 0; turn < 100 && read() !== content; turn++) await sleep(50)
    return read()
  }
  t.equal(await until('first'), 'first')
  t.equal(statSync(installed).mode & 0o777, 0o600)
  mount('..2', 'second')
  t.equal(await until('second'), 'second')
  t.equal(readFileSync(join(target, 'config.toml'), 'utf8'), 'kept')
  const found = spawnSync('find', [target, '-type', 'f'], { encoding: 'utf8' })
  t.same(found.stdout.trim().split('\n').sort(), [installed, join(target, 'config.toml')])
})

t.test('browser: one file with its passphrase beside it', async (t) => {
  const { modes, text, test } = filesOf('browser')
  t.same(modes, { 'edge-1.p12': 0o600, 'edge-1.passphrase': 0o600, 'ca.crt': 0o644 })
  t.equal(text['edge-1.passphrase'], 'secret\n')
  t.match(test, /https:\/\/gateway\.local:5443\/$/)
})

t.test('a key that stays on the node is in no file, and its place is told', async (t) => {
  for (const target of handoverTargets) {
    const make = () => filesOf(target, { keyPem: undefined })
    if (!isForRoot(target)) {
      t.throws(make, { name: 'UsageError', message: /needs the key/ }, target)
      continue
    }
    const { steps, text } = make()
    t.match(steps[0], /^# put the key of the request at \/etc\/.*key, mode 0600$/, target)
    t.notMatch(Object.values(text).join(''), /PRIVATE KEY/, target)
  }
})

t.test('gateways and registries that are none', async (t) => {
  for (const wrong of [
    'gateway',
    'http://gateway:5443',
    'https://',
    'https://g:5443/v2',
    'https://u:p@g',
    'https://g?x',
    'https://g:99999',
    'https://g"]\nserver = "https://evil',
    'https://g"',
    'https://$(id)',
    'https://`id`',
    "https://g'h",
    'https://g;id',
    'https://g&h',
    'https://{g}',
    'https://*.g',
    'https://..',
    'https://g..h',
    'https://../../etc',
    'https://g<script>',
    'https://g\u001b[2J',
    `https://${'x'.repeat(300)}`,
  ]) {
    t.throws(() => parseGateway(wrong), /^--gateway: .* must be https:\/\/host/, wrong)
  }
  for (const wrong of [
    '',
    'a/b',
    '..',
    'a b',
    'x"y',
    'x:y',
    '*.io',
    'x:99999',
    'a\nb',
    'https://x',
    '$(id)',
    '../x',
    'x]',
    '999.1.1.1',
  ]) {
    t.throws(() => checkRegistries(['docker.io', wrong]), /^--registries: .* is no registry/, wrong)
  }
  checkRegistries(['docker.io', 'localhost:5000', '10.0.0.1:5000', '10.0.0.1'])
  t.equal(parseGateway('https://[::1]:5443').host, '[::1]:5443')
  t.equal(parseGateway('https://192.0.2.1').host, '192.0.2.1')
  t.equal(parseGateway('https://Gateway.Local:5443/').host, 'gateway.local:5443')
})

t.test('whatever is accepted stays in its folder, and is one word of a shell', async (t) => {
  for (const gateway of ['https://[::1]:5443', 'https://gateway.local']) {
    for (const target of handoverTargets) {
      const { files, test } = handovers[target]({ ...input, gateway: parseGateway(gateway) }, 'x')
      for (const { path } of files) t.notMatch(path, /^\/|(^|\/)\.\.(\/|$)|[^\w.:[\]/-]/, path)
      t.notMatch(test, /[`;<>&\n]/, test)
    }
  }
})
