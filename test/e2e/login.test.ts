// Real clients that log in by password or show a certificate, where the policy opens one repository
// to them and closes another.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hash } from 'bcryptjs'
import t, { type Test } from 'tap'
import { digestOf } from '../../src/oci/digest.ts'
import { optionsFor } from '../requirements.ts'
import { certificateFolder } from './lab/certificates.ts'
import { startContainerd } from './lab/containerd.ts'
import { dockerHost, startDocker } from './lab/docker.ts'
import { makeFolder } from './lab/folder.ts'
import { configFor, startGateway, upstreamName, type Gateway } from './lab/gateway.ts'
import { startLab, type Lab } from './lab/lab.ts'
import { makePodman } from './lab/podman.ts'
import type { Outcome } from './lab/program.ts'
import { makeSkopeo } from './lab/skopeo.ts'

const [user, password] = ['alice', 'correct horse']
const open = 'allowed/app'
const closed = 'closed/app'

/** What the clients say of a 401 or 403. */
const refusal =
  /unauthorized|denied|authentication required|authorization failed|invalid username\/password|\b40[13] /i

t.test('login', optionsFor('login'), async (t) => {
  const lab = await startLab(t)
  await lab.registry.push(open, lab.image)
  await lab.registry.push(closed, lab.image)

  await t.test('docker', async (t) => {
    const gateway = await startGuarded(t, lab)
    const registry = `${dockerHost}:${gateway.port}`
    const { docker, trust } = await startDocker(t)
    const { ca, client } = lab.certificates
    const login = (secret: string) => docker('login', '-u', user, '-p', secret, registry)
    const pull = (repository: string) =>
      docker('pull', `${registry}/${upstreamName}/${repository}:1.0`)

    trust(registry, ca.edge)
    t.match(await pull(open), { code: 1, stderr: refusal }, 'nothing without a login')
    t.match(await login('wrong'), { code: 1, stderr: refusal })
    t.match(await login(password), { code: 0, stdout: /Login Succeeded/ })
    t.match(await pull(open), { code: 0, stdout: `Digest: ${lab.index}` })
    await refused(t, lab, await pull(closed))

    await t.test('with the certificate alone', async (t) => {
      t.match(await docker('logout', registry), { code: 0 })
      t.match(await docker('rmi', `${registry}/${upstreamName}/${open}:1.0`), { code: 0 })
      t.match(await pull(open), { code: 1, stderr: refusal }, 'the login is gone')
      trust(registry, ca.edge, client)
      t.match(await pull(open), { code: 0, stdout: `Digest: ${lab.index}` })
      await refused(t, lab, await pull(closed))
    })
  })

  await t.test('skopeo', async (t) => {
    const { login, copy } = await startSkopeo(t, lab)
    const certs = certificateFolder(join(makeFolder(t), 'certs'), lab.certificates.ca.edge)
    const to = makeFolder(t)

    t.match(await copy(certs, open, to), { code: 1, stderr: refusal }, 'nothing without a login')
    t.match(await login(certs, 'wrong'), { code: 1, stderr: refusal })
    t.match(await login(certs, password), { code: 0, stdout: /Login Succeeded/ })
    t.match(await copy(certs, open, to), { code: 0 })
    t.equal(digestOf(readFileSync(join(to, 'manifest.json'))), lab.index)
    await refused(t, lab, await copy(certs, closed, makeFolder(t)))
  })

  await t.test('skopeo, where certificate and login are needed together', async (t) => {
    const { login, copy } = await startSkopeo(t, lab, 'all')
    const { ca, client } = lab.certificates
    const folder = makeFolder(t)
    const bare = certificateFolder(join(folder, 'bare'), ca.edge)
    const certs = certificateFolder(join(folder, 'certs'), ca.edge, client)
    const to = makeFolder(t)

    t.match(await copy(certs, open, to), { code: 1, stderr: refusal }, 'nothing without a login')
    t.match(await login(bare, password), { code: 1, stderr: refusal }, 'nor a certificate')
    t.match(await login(certs, 'wrong'), { code: 1, stderr: refusal })
    t.match(await login(certs, password), { code: 0, stdout: /Login Succeeded/ })
    t.match(await copy(bare, open, to), { code: 1, stderr: refusal }, 'the login is not enough')
    t.match(await copy(certs, open, to), { code: 0 })
    t.equal(digestOf(readFileSync(join(to, 'manifest.json'))), lab.index)
    await refused(t, lab, await copy(certs, closed, makeFolder(t)))
  })

  await t.test('podman', async (t) => {
    const gateway = await startGuarded(t, lab)
    const podman = makePodman(t)
    const folder = makeFolder(t)
    const auth = join(folder, 'auth.json')
    writeFileSync(auth, '{}')
    const authfile = `--authfile=${auth}`
    const certs = `--cert-dir=${certificateFolder(join(folder, 'certs'), lab.certificates.ca.edge)}`
    const login = (secret: string) =>
      podman('login', authfile, certs, '-u', user, '-p', secret, gateway.address)
    const nameOf = (repository: string) => `${gateway.address}/${upstreamName}/${repository}:1.0`
    const pull = (repository: string) => podman('pull', authfile, certs, nameOf(repository))

    t.match(await pull(open), { code: 125, stderr: refusal }, 'nothing without a login')
    t.match(await login('wrong'), { code: 125, stderr: refusal })
    t.match(await login(password), { code: 0, stdout: /Login Succeeded/ })
    t.match(await pull(open), { code: 0 })
    const inspected = await podman('inspect', '--format={{.RepoDigests}}', nameOf(open))
    t.match(inspected, { code: 0, stdout: lab.index })
    await refused(t, lab, await pull(closed))
  })

  await t.test('containerd', async (t) => {
    const gateway = await startGuarded(t, lab)
    const containerd = await startContainerd(t)
    const { ca, client } = lab.certificates
    const host = { url: `https://${gateway.address}`, ca: ca.edge }
    const nameOf = (repository: string) => `${upstreamName}/${repository}:1.0`
    const pull = (repository: string, secret: string) =>
      containerd.pull(nameOf(repository), host, '--user', `${user}:${secret}`)
    const isThere = async (t: Test) => {
      const { stdout } = await containerd.ctr('images', 'ls', `name==${nameOf(open)}`)
      t.match(stdout, lab.index)
    }

    t.match(await containerd.pull(nameOf(open), host), { code: 1, stderr: refusal })
    t.match(await pull(open, 'wrong'), { code: 1, stderr: refusal })
    t.match(await pull(open, password), { code: 0 })
    await isThere(t)
    await refused(t, lab, await pull(closed, password))

    await t.test('with the certificate alone', async (t) => {
      t.match(await containerd.ctr('images', 'rm', '--sync', nameOf(open)), { code: 0 })
      const shown = { ...host, client }
      t.match(await containerd.pull(nameOf(open), shown), { code: 0 })
      await isThere(t)
      await refused(t, lab, await containerd.pull(nameOf(closed), shown))
    })
  })
})

/** A guarded gateway, and a skopeo that logs in to it and copies from it with a folder of certificates. */
async function startSkopeo(t: Test, lab: Lab, required: 'any' | 'all' = 'any') {
  const { address } = await startGuarded(t, lab, required)
  const skopeo = makeSkopeo(t)
  const authfile = `--authfile=${join(makeFolder(t), 'auth.json')}`
  return {
    login: (certs: string, secret: string) =>
      skopeo('login', authfile, `--cert-dir=${certs}`, '-u', user, '-p', secret, address),
    copy: (certs: string, repository: string, to: string) => {
      const image = `docker://${address}/${upstreamName}/${repository}:1.0`
      return skopeo('copy', '--all', authfile, `--src-cert-dir=${certs}`, image, `dir:${to}`)
    },
  }
}

/** A gateway with an empty cache that opens one repository to alice and to the certificate edge-1. */
async function startGuarded(t: Test, lab: Lab, required: 'any' | 'all' = 'any'): Promise<Gateway> {
  const folder = makeFolder(t)
  const htpasswd = join(folder, 'htpasswd')
  writeFileSync(htpasswd, `${user}:${await hash(password, 4)}\n`)
  const { listen, ...config } = configFor(lab)
  const repositories = [`${upstreamName}/allowed/**`]
  return startGateway(t, {
    ...config,
    listen: { ...listen, tls: { ...(listen['tls'] as object), clientAuth: 'optional' } },
    auth: {
      require: required,
      tokenService: { key: join(folder, 'token.key'), htpasswd, bindToCertificate: true },
    },
    policy: {
      default: 'deny',
      rules: [
        { name: 'alice', who: { issuer: 'portcullis', subject: user }, repositories },
        { name: 'edge', who: { cn: 'edge-1' }, repositories },
      ],
    },
  })
}

/** That a pull of the closed repository failed for want of a right, and nobody asked upstream. */
async function refused(t: Test, { nginx }: Lab, { code, stderr }: Outcome): Promise<void> {
  t.not(code, 0, 'the closed repository is refused')
  t.match(stderr, refusal)
  const asked = (await nginx.requests()).filter(({ target }) => target.includes(closed))
  t.same(asked, [], 'and the upstream was not asked for it')
}
