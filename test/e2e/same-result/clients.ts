// Asks registries by their clients, each for everything that it can get from one: what it got, as digests.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manifestDigestOf } from '../../../src/oci/schema1.ts'
import type { Test } from 'tap'
import { findProgram } from '../../requirements.ts'
import { startContainerd } from '../lab/containerd.ts'
import { startDocker } from '../lab/docker.ts'
import { makeFolder } from '../lab/folder.ts'
import { findGoProgram } from '../lab/go-program.ts'
import { makePodman } from '../lab/podman.ts'
import { run, type Outcome } from '../lab/program.ts'
import { makeSkopeo } from '../lab/skopeo.ts'

export interface Registry {
  /** `host:port`; plain HTTP. */
  address: string
  /** What stands before the name of a repository, such as `registry.local/`. */
  prefix: string
  /** Who may pull; anybody where nobody is named. */
  login?: { username: string; password: string }
  /** Whether it takes manifests of schema 1. */
  hasSchema1: boolean
}

/** What a client was asked for, and what came of it: digests, names, or how it failed. */
export type Results = Record<string, readonly string[]>

type Bench = Pick<Test, 'teardown'>

export interface Client {
  name: string
  /** The path of what pulls; undefined where it is not there. */
  program: string | undefined
  version: readonly string[]
  /** Starts with nothing from an earlier run. */
  ask: (t: Bench, registry: Registry) => Promise<Results>
}

/** An index with referrers; a signed manifest of schema 1; a chart. */
const image = 'sample/app:1.0'
const old = 'sample/old:v1'
const repository = 'sample/app'
const chart = 'charts/sample'

/** A folder with the programs of containerd 2. */
const containerd2 = process.env['CONTAINERD_2']

export const clients: readonly Client[] = [
  { name: 'skopeo', program: findProgram('skopeo'), version: ['--version'], ask: askSkopeo },
  {
    name: 'ctr',
    program: findProgram('ctr'),
    version: ['--version'],
    ask: (t, registry) => askContainerd(t, registry),
  },
  ...(containerd2 === undefined
    ? []
    : [
        {
          name: 'ctr 2',
          program: join(containerd2, 'ctr'),
          version: ['--version'],
          ask: (t: Bench, registry: Registry) => askContainerd(t, registry, containerd2),
        },
      ]),
  { name: 'docker', program: findProgram('dockerd'), version: ['--version'], ask: askDocker },
  { name: 'podman', program: findProgram('podman'), version: ['--version'], ask: askPodman },
  { name: 'crane', program: findGoProgram('crane'), version: ['version'], ask: askCrane },
  { name: 'regctl', program: findGoProgram('regctl'), version: ['version'], ask: askRegctl },
  { name: 'oras', program: findGoProgram('oras'), version: ['version'], ask: askOras },
  { name: 'helm', program: findGoProgram('helm'), version: ['version', '--short'], ask: askHelm },
]

function told({ code, stdout }: Outcome): string[] {
  if (code !== 0) return ['failed']
  return [...new Set(stdout.match(/(?:sha256:)?[0-9a-f]{64}/g))].sort()
}

function lines({ code, stdout }: Outcome): string[] {
  return code === 0 ? stdout.trim().split('\n').sort() : ['failed']
}

/**
 * What lies in a folder that a client has filled, by what it hashes to; a signed manifest by its payload,
 * because docker-registry signs each answer anew.
 */
function contentIn({ code }: Outcome, folder: string): string[] {
  if (code !== 0) return ['failed']
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^(?:index\.json|oci-layout|version)$/.test(entry.name))
    .map(({ parentPath, name }) => manifestDigestOf(readFileSync(join(parentPath, name))))
    .sort()
}

/** The row of the manifest of schema 1, which only some registries have. */
async function oldRow(
  { hasSchema1 }: Registry,
  what: string,
  ask: (name: string) => Promise<readonly string[]>,
): Promise<Results> {
  return hasSchema1 ? { [what]: await ask(old) } : {}
}

function credentials({ login }: Registry, option: string): string[] {
  return login === undefined ? [] : [option, `${login.username}:${login.password}`]
}

/** As after a `docker login`, in `folder`. */
function logIn(folder: string, { address, login }: Registry): void {
  if (login === undefined) return
  const auth = Buffer.from(`${login.username}:${login.password}`).toString('base64')
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ auths: { [address]: { auth } } }))
}

function hashOf({ code, stdout }: Outcome): string[] {
  return code === 0 ? [manifestDigestOf(Buffer.from(stdout))] : ['failed']
}

async function askSkopeo(t: Bench, registry: Registry): Promise<Results> {
  const skopeo = makeSkopeo(t)
  const at = (name: string) => `docker://${registry.address}/${registry.prefix}${name}`
  const options = ['--tls-verify=false', ...credentials(registry, '--creds')]
  const copy = async (name: string) => {
    const folder = makeFolder(t)
    const from = ['--src-tls-verify=false', ...credentials(registry, '--src-creds')]
    return contentIn(await skopeo('copy', '--all', ...from, at(name), `dir:${folder}`), folder)
  }
  return {
    'copy --all': await copy(image),
    ...(await oldRow(registry, 'copy, schema 1', copy)),
    'inspect --raw': hashOf(await skopeo('inspect', '--raw', ...options, at(image))),
    'list-tags': tagsIn(await skopeo('list-tags', ...options, at(repository))),
  }
}

function tagsIn({ code, stdout }: Outcome): string[] {
  return code === 0 ? (JSON.parse(stdout) as { Tags: string[] }).Tags.sort() : ['failed']
}

async function askContainerd(t: Bench, registry: Registry, programs?: string): Promise<Results> {
  const { ctr } = await startContainerd(t, programs === undefined ? {} : { programs })
  const pull = async (name: string, ...listing: string[]) => {
    const reference = `${registry.address}/${registry.prefix}${name}`
    const options = ['--plain-http', '--all-platforms', ...credentials(registry, '--user')]
    const { code } = await ctr('images', 'pull', ...options, reference)
    return code === 0 ? told(await ctr(...listing)) : ['failed']
  }
  return {
    'pull --all-platforms': await pull(image, 'content', 'ls', '--quiet'),
    // What it converts from lies among its content for a while, or not.
    ...(await oldRow(registry, 'pull, schema 1', (name) => pull(name, 'images', 'ls'))),
  }
}

async function askDocker(t: Bench, registry: Registry): Promise<Results> {
  const { docker, env } = await startDocker(t)
  logIn(env['DOCKER_CONFIG'] ?? '', registry)
  const pull = async (name: string) => {
    const reference = `${registry.address}/${registry.prefix}${name}`
    const pulled = await docker('pull', reference)
    if (pulled.code !== 0) return ['failed']
    const format = '{{.Id}} {{json .RootFS.Layers}}'
    const { stdout } = await docker('image', 'inspect', '--format', format, reference)
    return told({ ...pulled, stdout: pulled.stdout + stdout })
  }
  return { pull: await pull(image), ...(await oldRow(registry, 'pull, schema 1', pull)) }
}

async function askPodman(t: Bench, registry: Registry): Promise<Results> {
  const podman = makePodman(t)
  const pull = async (name: string) => {
    const reference = `${registry.address}/${registry.prefix}${name}`
    const options = ['--tls-verify=false', ...credentials(registry, '--creds')]
    const pulled = await podman('pull', ...options, reference)
    if (pulled.code !== 0) return ['failed']
    const format = '{{.Id}} {{.Digest}} {{json .RootFS.Layers}}'
    return told(await podman('image', 'inspect', '--format', format, reference))
  }
  return { pull: await pull(image), ...(await oldRow(registry, 'pull, schema 1', pull)) }
}

/** Runs a client that keeps what it knows in a home of its own, where it has logged in. */
function runner(t: Bench, client: string, registry: Registry) {
  const home = makeFolder(t)
  logIn(home, registry)
  const env = {
    HOME: home,
    XDG_CONFIG_HOME: home,
    DOCKER_CONFIG: home,
    HELM_REGISTRY_CONFIG: join(home, 'config.json'),
  }
  return async (...args: string[]) => run(findGoProgram(client) ?? client, args, { env })
}

async function askCrane(t: Bench, registry: Registry): Promise<Results> {
  const crane = runner(t, 'crane', registry)
  const folder = makeFolder(t)
  const at = (name: string) => `${registry.address}/${registry.prefix}${name}`
  return {
    digest: told(await crane('digest', '--insecure', at(image))),
    ls: lines(await crane('ls', '--insecure', at(repository))),
    ...(await oldRow(registry, 'manifest, schema 1', async (name) =>
      hashOf(await crane('manifest', '--insecure', at(name))),
    )),
    'pull --format=oci': contentIn(
      await crane('pull', '--insecure', '--format=oci', at(image), folder),
      folder,
    ),
  }
}

async function askRegctl(t: Bench, registry: Registry): Promise<Results> {
  const regctl = runner(t, 'regctl', registry)
  const folder = makeFolder(t)
  const at = (name: string) => `${registry.address}/${registry.prefix}${name}`
  await regctl('registry', 'set', '--tls', 'disabled', registry.address)
  return {
    'artifact list': told(
      await regctl('artifact', 'list', '--format', '{{jsonPretty .}}', at(image)),
    ),
    'image copy --referrers': contentIn(
      await regctl('image', 'copy', '--referrers', at(image), `ocidir://${folder}/app:1.0`),
      folder,
    ),
    ...(await oldRow(registry, 'manifest get, schema 1', async (name) =>
      hashOf(await regctl('manifest', 'get', '--format', 'raw-body', at(name))),
    )),
    'tag ls': lines(await regctl('tag', 'ls', at(repository))),
  }
}

async function askOras(t: Bench, registry: Registry): Promise<Results> {
  const oras = runner(t, 'oras', registry)
  const folder = makeFolder(t)
  const at = (name: string) => `${registry.address}/${registry.prefix}${name}`
  const options = ['--recursive', '--from-plain-http', '--to-oci-layout']
  return {
    'copy --recursive': contentIn(
      await oras('copy', ...options, at(image), `${folder}:1.0`),
      folder,
    ),
    discover: told(await oras('discover', '--plain-http', '--format', 'json', at(image))),
    'repo tags': lines(await oras('repo', 'tags', '--plain-http', at(repository))),
  }
}

async function askHelm(t: Bench, registry: Registry): Promise<Results> {
  const helm = runner(t, 'helm', registry)
  const folder = makeFolder(t)
  const at = `oci://${registry.address}/${registry.prefix}${chart}`
  const pull = ['pull', at, '--plain-http', '--version', '0.1.0', '--destination', folder]
  return {
    pull: contentIn(await helm(...pull), folder),
    // Without a version it asks for all tags and takes the newest.
    'show chart': hashOf(await helm('show', 'chart', at, '--plain-http')),
  }
}
