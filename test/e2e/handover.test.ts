// What `scripts/issue-client-cert --for` writes, unpacked on a node, with the test that it prints.
import { cpSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startRegistry, type Registry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { optionsFor } from '../requirements.ts'
import { startContainerd } from './lab/containerd.ts'
import { dockerHost, startDocker } from './lab/docker.ts'
import { runEnclosed, startEnclosed } from './lab/enclosure.ts'
import { makeFolder, subfolder } from './lab/folder.ts'
import { findGoProgram } from './lab/go-program.ts'
import { startGateway, type Gateway } from './lab/gateway.ts'
import { makePodman } from './lab/podman.ts'
import { run, succeed } from './lab/program.ts'

const scripts = join(import.meta.dirname, '../../scripts')
const image = await buildSampleImage()

interface Node {
  /** Where the node's files are unpacked. */
  root: string
  /** The command that tests it, as it is printed, word by word. */
  test: string[]
  gateway: Gateway
  adminUrl: string
  upstream: Registry
  /** Runs one of the scripts on the same authority. */
  script: (name: string, ...args: string[]) => Promise<string>
}

/**
 * An authority, a gateway that demands its client certificates and has docker.io's alpine to give,
 * and the files for a client of it.
 */
async function handOver(t: Test, target: string, host: string): Promise<Node> {
  const folder = makeFolder(t)
  const dir = join(folder, 'certs')
  const script = (name: string, ...args: string[]) =>
    succeed(join(scripts, name), [...args, '--dir', dir])
  await script('init-ca', '--intermediate')
  await script('issue-server-cert', dockerHost, '--ip', '127.0.0.1')
  const upstream = await startRegistry({ repositories: { 'library/alpine': image } })
  t.teardown(() => upstream.close())
  const at = (file: string) => join(dir, file)
  const tls = {
    cert: at(`${dockerHost}.crt`),
    key: at(`${dockerHost}.key`),
    clientAuth: 'required',
    clientCa: [at('ca.crt'), at('issuing.crt')],
    crl: [at('ca.crl')],
  }
  const gateway = await startGateway(t, {
    listen: { host: '127.0.0.1', port: 0, tls },
    admin: { port: 0, tls },
    upstreams: { 'docker.io': { url: upstream.url } },
  })
  const address = `https://${host}:${gateway.port}`
  const args = ['edge-1', '--for', target, '--tar', '--gateway', address]
  const printed = await script('issue-client-cert', ...args)
  const root = subfolder(folder, 'node')
  await succeed('tar', ['-xf', at(`edge-1-${target}.tar`), '-C', root])
  const [test = ''] = printed.trim().split('\n').slice(-1)
  const { adminPort } = await gateway.logged('its ports', ({ msg }) => msg === 'listening')
  const adminUrl = `https://127.0.0.1:${Number(adminPort)}`
  return { root, test: test.trim().split(' '), gateway, adminUrl, upstream, script }
}

/** That the pull went through the gateway to the upstream. */
function pulled(t: Test, { upstream }: Node): void {
  t.ok(
    upstream.requests.some(({ url }) => url.startsWith('/v2/library/alpine/blobs/')),
    'the blobs came through the gateway',
  )
}

const crictl = findGoProgram('crictl')

t.test('containerd', optionsFor('containerd'), (t) => pullByContainerd(t))

const programs = process.env['CONTAINERD_2']
const missing = 'CONTAINERD_2 names no folder with the programs of containerd 2'
const options = programs === undefined ? { skip: missing } : optionsFor('containerd')

t.test('containerd 2', options, (t) => pullByContainerd(t, programs))

async function pullByContainerd(t: Test, programs?: string): Promise<void> {
  const node = await handOver(t, 'containerd', '127.0.0.1')
  const [command, ...args] = node.test
  t.equal(command, 'ctr')
  const etc = join(node.root, 'etc/containerd')
  const options = { etc, ...(programs !== undefined && { programs }) }
  const { ctr, socket } = await startContainerd(t, options)
  const of = (image: string) => ctr(...args.slice(0, -1), image)
  const pull = () => ctr(...args)
  t.match(await pull(), { code: 0 })
  pulled(t, node)
  const absent = await of('docker.io/library/alpine:absent')
  t.match(absent, { code: 1, stderr: /not found/ }, 'and no word of certificates')
  t.notMatch(absent.stderr, /x509|tls:/)
  t.match(await of(`${node.gateway.address}/docker.io/library/alpine:latest`), { code: 0 })
  if (crictl !== undefined) {
    const at = ['--runtime-endpoint', `unix://${socket}`, '--image-endpoint', `unix://${socket}`]
    const asKubernetes = (image: string) => run(crictl, [...at, 'pull', image])
    t.match(await asKubernetes('docker.io/library/alpine:latest'), { code: 0 }, 'by the CRI')
    const stderr = /not found/
    t.match(await asKubernetes('docker.io/library/alpine:absent'), { code: 1, stderr })
  }
  t.same(
    node.gateway.log().filter(({ msg }) => msg === 'TLS handshake failed'),
    [],
  )
  await node.script('revoke-cert', 'edge-1')
  await node.gateway.logged('its reload', ({ msg }) => msg === 'reloaded')
  t.match(await pull(), { code: 1, stderr: /403 Forbidden/ }, 'revoked while it runs')
}

const buildkitd = findGoProgram('buildkitd')
const buildctl = findGoProgram('buildctl')
const buildkit =
  buildkitd && buildctl ? optionsFor('containerd') : { skip: 'no buildkitd, buildctl' }

t.test('BuildKit', buildkit, async (t) => {
  const node = await handOver(t, 'buildkit', '127.0.0.1')
  const folder = makeFolder(t)
  const address = `unix://${join(folder, 'buildkitd.sock')}`
  const env = { HOME: folder, BUILDKIT_HOST: address }
  const control = (...args: string[]) => run(buildctl ?? '', args, { env })
  const config = join(node.root, 'etc/buildkit/buildkitd.toml')
  writeFileSync(config, readFileSync(config, 'utf8').replaceAll('"/etc', `"${node.root}/etc`))
  const root = ['--root', join(folder, 'root'), '--containerd-worker=false']
  await startEnclosed(t, {
    folder,
    command: buildkitd ?? '',
    args: ['--config', config, '--addr', address, ...root],
    env,
    ready: async () => (await control('debug', 'workers')).code === 0,
  })
  writeFileSync(join(folder, 'Dockerfile'), 'FROM docker.io/library/alpine:latest\n')
  const local = ['context', 'dockerfile'].flatMap((name) => ['--local', `${name}=${folder}`])
  const output = ['--output', `type=oci,dest=${join(folder, 'built.tar')}`]
  const built = await control('build', '--frontend', 'dockerfile.v0', ...local, ...output)
  t.match(built, { code: 0 })
  pulled(t, node)
})

t.test('docker', optionsFor('docker'), async (t) => {
  const node = await handOver(t, 'docker', dockerHost)
  const [command, ...args] = node.test
  t.equal(command, 'docker')
  const { docker, etc } = await startDocker(t)
  cpSync(join(node.root, 'etc/docker'), etc, { recursive: true })
  t.match(await docker(...args), { code: 0, stdout: /Digest: sha256:/ })
  pulled(t, node)
})

const docker29 = process.env['DOCKER_29']
const containerdStore =
  docker29 === undefined
    ? { skip: 'DOCKER_29 names no folder with dockerd 29 and the programs of containerd 2' }
    : optionsFor('docker')

t.test('docker with the image store of containerd', containerdStore, async (t) => {
  const node = await handOver(t, 'docker', dockerHost)
  const programs = docker29 ?? ''
  const { docker, etc, env } = await startDocker(t, { programs })
  cpSync(join(node.root, 'etc/docker'), etc, { recursive: true })
  const info = await docker('info', '--format', '{{json .DriverStatus}}')
  t.match(info.stdout, /io\.containerd\.snapshotter/)
  if (existsSync(join(programs, 'docker-buildx'))) {
    const plugins = subfolder(env['DOCKER_CONFIG'] ?? '', 'cli-plugins')
    symlinkSync(join(programs, 'docker-buildx'), join(plugins, 'docker-buildx'))
    const folder = makeFolder(t)
    writeFileSync(join(folder, 'Dockerfile'), 'FROM docker.io/library/alpine:latest\n')
    t.match(await docker('buildx', 'build', folder), { code: 0 }, 'what a build names')
    pulled(t, node)
  }
  t.match(await docker('pull', 'docker.io/library/alpine:latest'), { code: 0 }, 'by its own name')
  pulled(t, node)
  t.match(await docker(...node.test.slice(1)), { code: 0 }, 'and by that of the gateway')
  const absent = await docker('pull', 'docker.io/library/alpine:absent')
  t.match(absent, { code: 1, stderr: /not found/ })
  const log = node.gateway.log()
  t.same(
    log.filter(({ msg }) => msg === 'TLS handshake failed'),
    [],
  )
})

t.test('podman', optionsFor('podman'), async (t) => {
  const node = await handOver(t, 'podman', '127.0.0.1')
  const [command, ...args] = node.test
  t.equal(command, 'podman')
  const etc = subfolder(makeFolder(t), 'containers')
  cpSync('/etc/containers', etc, { recursive: true })
  cpSync(join(node.root, 'etc/containers'), etc, { recursive: true })
  t.match(await makePodman(t, etc)(...args), { code: 0 })
  pulled(t, node)
})

t.test('Chromium, on the pages of the admin listener', optionsFor('browser'), async (t) => {
  const { root, adminUrl } = await handOver(t, 'browser', '127.0.0.1')
  const home = makeFolder(t)
  const store = `sql:${subfolder(home, '.pki/nssdb')}`
  // Nobody is there to choose a certificate.
  const policy = { AutoSelectCertificateForUrls: ['{"pattern":"*","filter":{}}'] }
  const etc = subfolder(home, 'etc')
  writeFileSync(join(subfolder(etc, 'policies/managed'), 'policy.json'), JSON.stringify(policy))
  const open = async (url: string) => {
    const { stdout } = await runEnclosed({
      folder: home,
      overlays: { '/etc/chromium': etc },
      command: 'chromium',
      args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--dump-dom', url],
      env: { HOME: home },
    })
    return stdout
  }
  await succeed('certutil', ['-N', '-d', store, '--empty-password'])
  const authority = ['-n', 'gateway', '-t', 'C,,', '-i', join(root, 'ca.crt')]
  await succeed('certutil', ['-A', '-d', store, ...authority])
  t.notMatch(await open(`${adminUrl}/docs/`), /swagger-ui/, 'nothing without the file')
  const passphrase = readFileSync(join(root, 'edge-1.passphrase'), 'utf8').trim()
  const file = ['-i', join(root, 'edge-1.p12'), '-W', passphrase]
  await succeed('pk12util', ['-d', store, ...file, '-K', ''])
  t.match(await open(`${adminUrl}/docs/`), /swagger-ui/)
})

t.test('the command that a browser is tested with', optionsFor('curl'), async (t) => {
  const { root, test } = await handOver(t, 'browser', '127.0.0.1')
  const command = test.join(' ').replace('curl', 'curl --silent --show-error --include')
  const answer = await succeed('sh', ['-c', `cd ${root} && ${command}`])
  t.match(answer, /^HTTP\/1\.1 404/, 'the gateway itself has no pages')
})
