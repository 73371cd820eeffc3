// Images as files: what real tools write comes in, and what goes out they read.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { programPrinting } from '../../src/demo/program.ts'
import { buildSampleImage, printedLine } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { exportImages } from '../../src/transfer/export.ts'
import { parseImage } from '../../src/transfer/image-name.ts'
import { importAll } from '../../src/transfer/import.ts'
import { inspectCache } from '../helpers/cache-folder.ts'
import { optionsFor } from '../requirements.ts'
import { certificateFolder, makeCertificates } from './lab/certificates.ts'
import { startContainerd } from './lab/containerd.ts'
import { dockerHost, startDocker } from './lab/docker.ts'
import { makeFolder, subfolder } from './lab/folder.ts'
import { startGateway, upstreamName } from './lab/gateway.ts'
import { makePodman } from './lab/podman.ts'
import { succeed } from './lab/program.ts'
import { startDockerRegistry } from './lab/registry.ts'
import { makeSkopeo } from './lab/skopeo.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const ran = { code: 0, stdout: `${printedLine}\n` }
const options = optionsFor('archives')

t.test('a tree of extracted tarballs, served with no upstream', options, async (t) => {
  const folder = makeFolder(t)
  const certificates = await makeCertificates(folder)
  const tree = await makeTree(t, folder)
  const { ca, client } = certificates
  const settings = {
    listen: {
      host: '127.0.0.1',
      port: 0,
      tls: { ...certificates.gateway, clientAuth: 'required', clientCa: [ca.edge] },
    },
    admin: { port: 0 },
    upstreams: { [upstreamName]: {} },
    defaultUpstream: upstreamName,
    offline: true,
  }
  const gateway = await startGateway(t, settings)
  const config = join(gateway.folder, 'gateway.yaml')
  const told = await succeed(process.execPath, [main, 'import', tree, '--config', config])
  const [, tag, digest] = /^(\S+) (sha256:[0-9a-f]{64}) /.exec(told) ?? []
  t.equal(tag, `${upstreamName}/appzygy/smallgo:v1.0.0`)
  const images = [`${tag}`, `${tag?.replace(/:[^:]*$/, '')}@${digest}`]
  const certs = certificateFolder(join(folder, 'certs'), ca.edge, client)

  await t.test('skopeo', async (t) => {
    const skopeo = makeSkopeo(t)
    for (const image of images) {
      const name = `docker://${gateway.address}/${image}`
      // The gateway that was running sees the index change within a second.
      const copied = await eventually(() =>
        skopeo('copy', `--src-cert-dir=${certs}`, name, `dir:${makeFolder(t)}`),
      )
      t.match(copied, { code: 0 }, image)
    }
  })
  await t.test('containerd', async (t) => {
    for (const image of images) {
      const containerd = await startContainerd(t)
      const host = { url: `https://${gateway.address}`, ca: ca.edge, client }
      t.match(await containerd.pull(image, host), { code: 0 }, image)
      t.match(await containerd.runImage(image), ran)
    }
  })
  await t.test('docker', async (t) => {
    const registry = `${dockerHost}:${gateway.port}`
    const { docker, trust } = await startDocker(t)
    trust(registry, ca.edge, client)
    for (const image of images) {
      const name = `${registry}/${image}`
      t.match(await docker('pull', name), { code: 0, stdout: `Digest: ${digest}` }, image)
      t.match(await docker('run', '--rm', '--network=none', name), ran)
    }
  })
  await t.test('podman', async (t) => {
    const podman = makePodman(t)
    for (const image of images) {
      const name = `${gateway.address}/${image}`
      t.match(await podman('pull', `--cert-dir=${certs}`, name), { code: 0 }, image)
      t.match(await podman('run', '--rm', '--network=none', name), ran)
    }
  })
  await t.test('cache.import: there from the start', async (t) => {
    const cache = { dir: 'cache', import: [tree] }
    const second = await startGateway(t, { ...settings, cache })
    t.match(await second.logged('the import', ({ msg }) => msg === 'imported'), { images: [tag] })
    const name = `docker://${second.address}/${tag}`
    const copied = await eventually(() =>
      makeSkopeo(t)('copy', `--src-cert-dir=${certs}`, name, `dir:${makeFolder(t)}`),
    )
    t.match(copied, { code: 0 })
  })
})

/** An image built by podman, pushed to a registry, saved by skopeo and extracted: `images`. */
async function makeTree(t: Test, folder: string): Promise<string> {
  const context = subfolder(folder, 'context')
  writeFileSync(join(context, 'main'), programPrinting(`${printedLine}\n`, 'amd64'), {
    mode: 0o755,
  })
  writeFileSync(
    join(context, 'Dockerfile'),
    'FROM scratch\nCOPY main /main\nENTRYPOINT ["/main"]\n',
  )
  const registry = await startDockerRegistry(t, folder)
  const image = `${registry.address}/appzygy/smallgo:v1.0.0`
  const podman = makePodman(t)
  t.match(await podman('build', '--isolation=chroot', '-t', image, context), { code: 0 })
  t.match(await podman('push', '--tls-verify=false', image), { code: 0 })
  const tar = join(folder, 'smallgo.tar')
  const source = `docker://${image}`
  const copied = await makeSkopeo(t)(
    'copy',
    '--src-tls-verify=false',
    source,
    `docker-archive:${tar}`,
  )
  t.match(copied, { code: 0 })
  const tree = join(folder, 'images')
  await succeed('tar', ['-xf', tar, '-C', subfolder(tree, 'appzygy/smallgo/v1.0.0')])
  return tree
}

async function eventually<T extends { code: number }>(attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const outcome = await attempt()
    if (outcome.code === 0 || Date.now() > deadline) return outcome
  }
}

t.test('every tool’s archives, in and out', options, async (t) => {
  const folder = makeFolder(t)
  const registry = await startDockerRegistry(t, folder)
  const image = await buildSampleImage({ layerBytes: 500_000 })
  await registry.push('sample/app', image)
  const index = image.tags.get('1.0') as Digest
  const source = `docker://${registry.address}/sample/app:1.0`
  const naming = { upstreams: ['docker.io'], defaultUpstream: 'docker.io' }
  const name = 'docker.io/sample/app:1.0'
  const as = { upstream: 'docker.io', repository: 'sample/app', tag: '1.0' }
  const skopeo = makeSkopeo(t)

  /** Imports `path` into an empty cache: the image's digest, and what is stored. */
  async function take(t: Test, path: string) {
    const dir = join(makeFolder(t), 'cache')
    const { imported, failed } = await importAll([path], { dir, naming, as })
    t.same(failed, [])
    return { dir, digest: imported[0]?.digest, stored: inspectCache(dir).stored }
  }

  async function give(dir: string): Promise<string> {
    const file = join(dir, '../exported.tar')
    const given = { dir, file, platform: 'linux/amd64' }
    const { failed } = await exportImages([parseImage(name, naming)], given)
    if (failed.length > 0) throw new Error(failed[0]?.message)
    return file
  }

  const layout = join(folder, 'app-oci.tar')
  const target = `oci-archive:${layout}:1.0`
  const copied = await skopeo('copy', '--all', '--src-tls-verify=false', source, target)
  t.match(copied, { code: 0 })
  const whole = await take(t, layout)
  t.equal(whole.digest, index)
  const exported = await give(whole.dir)
  const configs = [...image.blobs].filter(([, bytes]) => bytes.includes('"rootfs"'))
  const configIn = (stored: string[]) => configs.some(([digest]) => stored.includes(digest))

  await t.test('skopeo', async (t) => {
    const back = `${makeFolder(t)}/back`
    t.match(await skopeo('copy', '--all', `oci-archive:${exported}`, `oci:${back}:1.0`), {
      code: 0,
    })
    const again = await take(t, back)
    t.same(again.digest, index, 'as a folder')
    t.same(again.stored, whole.stored)
    const saved = join(makeFolder(t), 'saved.tar')
    const from = `docker-archive:${exported}`
    t.match(await skopeo('copy', from, `docker-archive:${saved}:sample/app:1.0`), { code: 0 })
    t.ok(configIn((await take(t, saved)).stored))
  })

  await t.test('containerd', async (t) => {
    const { ctr, runImage } = await startContainerd(t)
    t.match(await ctr('images', 'import', '--all-platforms', exported), { code: 0 })
    t.match(await runImage(name), ran)
    for (const [options, left] of [
      [['--all-platforms'], whole.stored],
      [[], undefined],
    ] as const) {
      const saved = join(makeFolder(t), 'saved.tar')
      t.match(await ctr('images', 'export', ...options, saved, name), { code: 0 })
      const again = await take(t, saved)
      t.equal(again.digest, index)
      if (left !== undefined) t.same(again.stored, left)
    }
  })

  await t.test('docker', async (t) => {
    const { docker } = await startDocker(t)
    t.match(await docker('load', '-i', exported), {
      code: 0,
      stdout: /Loaded image: sample\/app:1/,
    })
    t.match(await docker('run', '--rm', '--network=none', 'sample/app:1.0'), ran)
    const saved = join(makeFolder(t), 'saved.tar')
    t.match(await docker('save', '-o', saved, 'sample/app:1.0'), { code: 0 })
    const again = await take(t, saved)
    t.ok(configIn(again.stored), 'the config has the digest it came with')
    t.equal((await take(t, saved)).digest, again.digest, 'the same at each import')
    await docker('rmi', '-f', 'sample/app:1.0')
    t.match(await docker('load', '-i', await give(again.dir)), { code: 0 })
    t.match(await docker('run', '--rm', '--network=none', 'sample/app:1.0'), ran)
  })

  await t.test('podman', async (t) => {
    const podman = makePodman(t)
    t.match(await podman('load', '-i', exported), { code: 0 })
    t.match(await podman('run', '--rm', '--network=none', name), ran)
    for (const format of ['docker-archive', 'oci-archive']) {
      const saved = join(makeFolder(t), 'saved.tar')
      t.match(await podman('save', `--format=${format}`, '-o', saved, name), { code: 0 })
      t.ok(configIn((await take(t, saved)).stored), format)
    }
  })
})
