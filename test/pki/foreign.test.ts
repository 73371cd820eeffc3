// Other TLS libraries accept what we issue: GnuTLS, and Go's crypto/tls in skopeo.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { startRegistry } from '../../src/demo/registry.ts'
import { handovers } from '../../src/pki/handover/targets.ts'
import { keyAlgorithms, type KeyAlgorithm } from '../../src/pki/key.ts'
import { found } from '../../src/pki/init.ts'
import { issue, type Issuance } from '../../src/pki/issue.ts'
import { optionsFor } from '../requirements.ts'

const suite = optionsFor('foreign')

/** A registry that wants client certificates, and a client of its authority. */
async function makeSite(t: Test, algorithm: KeyAlgorithm, intermediate: boolean) {
  const dir = join(t.testdir({}), 'certs')
  await found({ dir }, { commonName: 'Test CA', intermediate, algorithm })
  const common = { algorithm, force: false }
  const server = await issue(
    { dir },
    {
      ...common,
      name: 'localhost',
      profile: 'server',
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
    },
  )
  const client = await issue({ dir }, { ...common, name: 'edge-1', profile: 'client' })
  const caPem = readFileSync(join(dir, 'ca.crt'), 'utf8')
  const registry = await startRegistry({
    repositories: { 'docker.io/library/sample': await buildSampleImage() },
    tls: {
      cert: server.chainPem,
      key: server.keyPem ?? '',
      ca: caPem,
      requestCert: true,
      rejectUnauthorized: true,
    },
  })
  t.teardown(() => registry.close())
  return { dir, client, registry, caPem }
}

async function run(
  command: string,
  args: string[],
  options: { input?: string; env?: object } = {},
) {
  const child = spawn(command, args, { env: { ...process.env, ...options.env } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  }
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const [status] = (await once(child, 'close')) as [number]
  return { status, output }
}

for (const algorithm of keyAlgorithms) {
  t.test(
    `GnuTLS: two-way TLS with ${algorithm} keys, through an intermediate`,
    suite,
    async (t) => {
      const { dir, registry } = await makeSite(t, algorithm, true)
      const at = (file: string) => join(dir, file)
      const { output } = await run(
        'gnutls-cli',
        [
          '--x509cafile',
          at('ca.crt'),
          '--port',
          String(registry.port),
          '--x509certfile',
          at('edge-1.crt'),
          '--x509keyfile',
          at('edge-1.key'),
          'localhost',
        ],
        { input: 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' },
      )
      t.match(output, /The certificate is trusted/)
      t.match(output, /HTTP\/1\.1 200/)
      t.match(registry.requests.at(-1)?.peerSubject, /CN=edge-1/)
    },
  )

  t.test(`Go: skopeo pulls with what podman is handed over, ${algorithm}`, suite, async (t) => {
    const { dir, registry, client, caPem } = await makeSite(t, algorithm, true)
    const gateway = new URL(`https://localhost:${registry.port}`)
    const root = writeHandover(dir, gateway, client, caPem)
    const certificates = join(root, 'etc/containers/certs.d', gateway.host)
    const conf = join(root, 'etc/containers/registries.conf.d/portcullis.conf')
    const inspect = (certDir: string) =>
      run(
        'skopeo',
        [
          '--registries-conf',
          conf,
          'inspect',
          '--no-tags',
          '--cert-dir',
          certDir,
          'docker://docker.io/sample',
        ],
        { env: { HOME: dir, XDG_RUNTIME_DIR: dir } },
      )
    const { status, output } = await inspect(certificates)
    t.equal(status, 0, output)
    t.match(registry.requests.at(-1), {
      url: /^\/v2\/docker\.io\/library\/sample\//,
      peerSubject: /CN=edge-1/,
    })
    const seen = registry.requests.length
    const bare = join(dir, 'bare')
    mkdirSync(bare)
    writeFileSync(join(bare, 'ca.crt'), caPem)
    t.match(await inspect(bare), { status: 1, output: /certificate required/ })
    t.equal(registry.requests.length, seen, 'and nothing without')
  })
}

function writeHandover(dir: string, gateway: URL, client: Issuance, caPem: string): string {
  const { chainPem, keyPem } = client
  const node = { name: 'edge-1', gateway, registries: ['docker.io'], caPem, chainPem, keyPem }
  const root = join(dir, 'node')
  for (const { path, content, mode } of handovers.podman(node, '').files) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content, { mode })
  }
  return root
}
