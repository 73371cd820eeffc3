// The registries that clients ask, each directly and through a gateway in front of it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { makeFolder } from '../lab/folder.ts'
import { startGateway, upstreamName } from '../lab/gateway.ts'
import { findGoProgram } from '../lab/go-program.ts'
import { startHarbor } from '../lab/harbor.ts'
import { freePort, run, startProgram, succeed } from '../lab/program.ts'
import { pushContent, startDockerRegistry, type DockerRegistry } from '../lab/registry.ts'
import { buildSchema1Image } from '../lab/schema1.ts'
import type { Registry } from './clients.ts'

export interface Site {
  direct: Registry
  gateway: Registry
}

export interface SiteKind {
  name: string
  start: (t: Bench) => Promise<Site>
  /** Why it cannot be had here. */
  missing?: string
}

type Bench = Pick<Test, 'teardown'>

const project = 'edge'
const distribution3 = await findDistribution3()

export const siteKinds: readonly SiteKind[] = [
  { name: 'docker-registry', start: startPlain },
  {
    name: 'distribution 3',
    start: startDistribution3,
    ...(distribution3 === undefined && {
      missing: 'go install github.com/distribution/distribution/v3/cmd/registry@latest',
    }),
  },
  {
    name: 'crane registry serve',
    start: startCrane,
    ...(findGoProgram('crane') === undefined && {
      missing: 'go install github.com/google/go-containerregistry/cmd/crane@latest',
    }),
  },
  { name: 'as Harbor', start: startProject },
]

async function findDistribution3(): Promise<string | undefined> {
  const program = findGoProgram('registry')
  if (program === undefined) return undefined
  const { stdout } = await run(program, ['--version'])
  return stdout.includes('distribution/v3') ? program : undefined
}

async function startPlain(t: Bench): Promise<Site> {
  const registry = await startDockerRegistry(t, makeFolder(t))
  await fill(t, registry, { prefix: '', hasSchema1: true })
  return siteAt(t, { address: registry.address, prefix: '', hasSchema1: true })
}

/** It has given up schema 1. */
async function startDistribution3(t: Bench): Promise<Site> {
  const program = distribution3 ?? 'registry'
  const registry = await startDockerRegistry(t, makeFolder(t), { program })
  await fill(t, registry, { prefix: '', hasSchema1: false })
  return siteAt(t, { address: registry.address, prefix: '', hasSchema1: false })
}

/** It has the API of referrers, which the other two lack. */
async function startCrane(t: Bench): Promise<Site> {
  const address = `127.0.0.1:${await freePort()}`
  const url = `http://${address}/v2/`
  await startProgram(t, {
    command: findGoProgram('crane') ?? 'crane',
    args: ['registry', 'serve', '--address', address],
    ready: () =>
      fetch(url).then(
        ({ ok }) => ok,
        () => false,
      ),
  })
  const push: DockerRegistry['push'] = (name, content) => pushContent(`${url}${name}`, content)
  await fill(t, { address, push }, { prefix: '', hasSchema1: false })
  return siteAt(t, { address, prefix: '', hasSchema1: false })
}

/** Clients log in themselves and name the project; the gateway does both for those that ask it. */
async function startProject(t: Bench): Promise<Site> {
  const content = makeFolder(t)
  const prefix = `${project}/`
  await fill(t, await startDockerRegistry(t, content), { prefix, hasSchema1: true })
  const { address, robot } = await startHarbor(t, content, project)
  const passwordFile = join(makeFolder(t), 'password')
  writeFileSync(passwordFile, robot.password, { mode: 0o600 })
  const direct = { address, prefix, hasSchema1: true, login: robot }
  return siteAt(t, direct, {
    url: `http://${address}/v2/${project}`,
    auth: { username: robot.username, passwordFile },
  })
}

/** An index that has a referrer, a signed manifest of schema 1, and a chart where helm is here. */
async function fill(
  t: Bench,
  registry: DockerRegistry,
  { prefix, hasSchema1 }: Pick<Registry, 'prefix' | 'hasSchema1'>,
): Promise<void> {
  await registry.push(`${prefix}sample/app`, await buildSampleImage({ layerBytes: 2 ** 20 }))
  const old = `${prefix}sample/old`
  if (hasSchema1) await registry.push(old, buildSchema1Image(old))
  const helm = findGoProgram('helm')
  if (helm === undefined) return
  const folder = makeFolder(t)
  const env = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_CACHE_HOME: folder }
  await succeed(helm, ['create', join(folder, 'sample')], { env })
  await succeed(helm, ['package', join(folder, 'sample'), '--destination', folder], { env })
  const to = `oci://${registry.address}/${prefix}charts`
  await succeed(helm, ['push', join(folder, 'sample-0.1.0.tgz'), to, '--plain-http'], { env })
}

async function siteAt(
  t: Bench,
  direct: Registry,
  upstream: Record<string, unknown> = { url: `http://${direct.address}` },
): Promise<Site> {
  const { address } = await startGateway(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    upstreams: { [upstreamName]: upstream },
  })
  const { hasSchema1 } = direct
  return { direct, gateway: { address, prefix: `${upstreamName}/`, hasSchema1 } }
}
