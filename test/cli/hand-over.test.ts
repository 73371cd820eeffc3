// What is handed over to a client comes with its certificate, or neither does.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { planOf } from '../../src/cli/pki/hand-over.ts'
import { renew } from '../../src/pki/renew.ts'
import { readLedger } from '../../src/pki/state/ledger.ts'
import { issueClient, makeFolder } from '../helpers/pki.ts'

function filesFor(dir: string, values: Partial<Parameters<typeof planOf>[0]>) {
  const given = { for: 'docker', gateway: 'https://g:5443', registries: 'docker.io', tar: false }
  const plan = planOf({ dir, ...given, ...values })
  if (plan === undefined) throw new Error('nothing is handed over')
  return { companions: plan.files }
}

t.test('an archive holds names of any length', async (t) => {
  const dir = await makeFolder(t)
  const registry = `${'registry-with-a-long-name.'.repeat(8)}local:5000`
  const options = { for: 'containerd', registries: `docker.io,${registry}`, tar: true }
  const { files } = await issueClient(dir, 'edge-1', filesFor(dir, options))
  t.equal(files.length, 2)
  const node = join(dir, 'node')
  mkdirSync(node)
  const unpacked = spawnSync('tar', ['-xf', join(dir, 'edge-1-containerd.tar'), '-C', node])
  t.equal(unpacked.status, 0)
  const hosts = join(node, 'etc/containerd/certs.d', registry, 'hosts.toml')
  t.match(readFileSync(hosts, 'utf8'), 'server = "https://g:5443"')
})

t.test('a folder that cannot be written: nothing is issued', async (t) => {
  const dir = await makeFolder(t)
  const before = readdirSync(dir)
  writeFileSync(join(dir, 'edge-1-docker'), 'in the way')
  await t.rejects(issueClient(dir, 'edge-1', filesFor(dir, {})), /cannot write/)
  mkdirSync(join(dir, 'edge-1-podman.tar/x'), { recursive: true })
  await t.rejects(issueClient(dir, 'edge-1', filesFor(dir, { for: 'podman', tar: true })))
  t.same(
    readdirSync(dir).filter((name) => !/docker|podman/.test(name)),
    before,
  )
  t.equal(readLedger(dir).length, 1)
})

t.test('only what a client can use is handed over', async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'gateway.local', { profile: 'server', dnsNames: ['gateway.local'] })
  await issueClient(dir, 'edge-1', { keyPassphrase: 'secret' })
  const renewed = (name: string, newKey = false) =>
    renew({ dir }, name, { newKey, ...filesFor(dir, {}) })
  await t.rejects(renewed('gateway.local'), /^--for: gateway\.local is of a server/)
  await t.rejects(renewed('edge-1'), /^--for: the key of edge-1 is encrypted/)
  t.equal(readLedger(dir).length, 3, 'and nothing was renewed')
  await renewed('edge-1', true)
  const key = readFileSync(join(dir, 'edge-1-docker/etc/docker/certs.d/g:5443/client.key'), 'utf8')
  t.match(key, /^-----BEGIN PRIVATE KEY/)
})

t.test('kubernetes copies by the image that is named; the others run none', async (t) => {
  const dir = await makeFolder(t)
  const image = 'registry.local/tools/busybox:1'
  await issueClient(dir, 'nodes', filesFor(dir, { for: 'kubernetes', image }))
  const written = readFileSync(join(dir, 'nodes-kubernetes/portcullis-node.yaml'), 'utf8')
  t.match(written, `image: ${image}`)
  t.throws(() => filesFor(dir, { for: 'docker', image }), /^--image: is for kubernetes/)
})
