// Asks registries by their clients, each for everything that it can get from one: what it got, as digests.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { manifestDigestOf } from '../../../src/oci/schema1.ts'
import type { Test } from 'tap'
import { findProgram } from '../../requirements.ts'
import { startContainerd } from '../lab/containerd.ts'
import { startDocker } from '../lab/docker.ts'
import { makeFolder } from '../lab/folder.ts'
import { makePodman } from '../lab/podman.ts'
import { run, type Outcome } from '../lab/program.ts'
import { makeSkopeo } from '../lab/skopeo.ts'

export interface Registry {
  /** `host:port`; plain HTTP. */
  address: string
  /** What stands before the name of a repository, such as `registry.local/`. */
  prefix: string
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

/** `sample/app:1.0` is an index with referrers, `sample/old:v1` a signed manifest of schema 1. */
const image = 'sample/app:1.0'
const old = 'sample/old:v1'
const repository = 'sample/app'

export const clients: readonly Client[] = [
  { name: 'skopeo', program: findProgram('skopeo'), version: ['--version'], ask: askSkopeo },
  { name: 'ctr', program: findProgram('ctr'), version: ['--version'], ask: askContainerd },
  { name: 'docker', program: findProgram('dockerd'), version: ['--version'], ask: askDocker },
  { name: 'podman', program: findProgram('podman'), version: ['--version'], ask: askPodman },
  { name: 'crane', program: findGoProgram('crane'), version: ['version'], ask: askCrane },
  { name: 'regctl', program: findGoProgram('regctl'), version: ['version'], ask: askRegctl },
  { name: 'oras', program: findGoProgram('oras'), version: ['version'], ask: askOras },
]

/** Those that `go install` brings are where it puts them, which is on few PATHs. */
function findGoProgram(name: string): string | undefined {
  const folder = process.env['GOPATH'] ?? join(homedir(), 'go')
  const installed = join(folder, 'bin', name)
  return findProgram(name) ?? (existsSync(installed) ? installed : undefined)
}

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

function hashOf({ code, stdout }: Outcome): string[] {
  return code === 0 ? [manifestDigestOf(Buffer.from(stdout))] : ['failed']
}

async function askSkopeo(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const skopeo = makeSkopeo(t)
  const at = (name: string) => `docker://${address}/${prefix}${name}`
  const copy = async (name: string) => {
    const folder = makeFolder(t)
    const options = ['copy', '--all', '--src-tls-verify=false']
    return contentIn(await skopeo(...options, at(name), `dir:${folder}`), folder)
  }
  return {
    'copy --all': await copy(image),
    'copy, schema 1': await copy(old),
    'inspect --raw': hashOf(await skopeo('inspect', '--raw', '--tls-verify=false', at(image))),
    'list-tags': tagsIn(await skopeo('list-tags', '--tls-verify=false', at(repository))),
  }
}

function tagsIn({ code, stdout }: Outcome): string[] {
  return code === 0 ? (JSON.parse(stdout) as { Tags: string[] }).Tags.sort() : ['failed']
}

async function askContainerd(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const { ctr } = await startContainerd(t)
  const pull = async (name: string, ...listing: string[]) => {
    const options = ['images', 'pull', '--plain-http', '--all-platforms']
    const { code } = await ctr(...options, `${address}/${prefix}${name}`)
    return code === 0 ? told(await ctr(...listing)) : ['failed']
  }
  return {
    'pull --all-platforms': await pull(image, 'content', 'ls', '--quiet'),
    // What it converts from lies among its content for a while, or not.
    'pull, schema 1': await pull(old, 'images', 'ls'),
  }
}

async function askDocker(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const { docker } = await startDocker(t)
  const pull = async (name: string) => {
    const reference = `${address}/${prefix}${name}`
    const pulled = await docker('pull', reference)
    if (pulled.code !== 0) return ['failed']
    const format = '{{.Id}} {{json .RootFS.Layers}}'
    const { stdout } = await docker('image', 'inspect', '--format', format, reference)
    return told({ ...pulled, stdout: pulled.stdout + stdout })
  }
  return { pull: await pull(image), 'pull, schema 1': await pull(old) }
}

async function askPodman(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const podman = makePodman(t)
  const pull = async (name: string) => {
    const reference = `${address}/${prefix}${name}`
    const pulled = await podman('pull', '--tls-verify=false', reference)
    if (pulled.code !== 0) return ['failed']
    const format = '{{.Id}} {{.Digest}} {{json .RootFS.Layers}}'
    return told(await podman('image', 'inspect', '--format', format, reference))
  }
  return { pull: await pull(image), 'pull, schema 1': await pull(old) }
}

/** Runs a client that keeps what it knows in its home, which is `folder`. */
function runner(client: string, folder: string) {
  const env = { HOME: folder, XDG_CONFIG_HOME: folder, DOCKER_CONFIG: folder }
  return async (...args: string[]) => run(findGoProgram(client) ?? client, args, { env })
}

async function askCrane(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const crane = runner('crane', makeFolder(t))
  const folder = makeFolder(t)
  const at = (name: string) => `${address}/${prefix}${name}`
  return {
    digest: told(await crane('digest', '--insecure', at(image))),
    ls: lines(await crane('ls', '--insecure', at(repository))),
    'manifest, schema 1': hashOf(await crane('manifest', '--insecure', at(old))),
    'pull --format=oci': contentIn(
      await crane('pull', '--insecure', '--format=oci', at(image), folder),
      folder,
    ),
  }
}

async function askRegctl(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const regctl = runner('regctl', makeFolder(t))
  const folder = makeFolder(t)
  const at = (name: string) => `${address}/${prefix}${name}`
  await regctl('registry', 'set', '--tls', 'disabled', address)
  return {
    'artifact list': told(
      await regctl('artifact', 'list', '--format', '{{jsonPretty .}}', at(image)),
    ),
    'image copy --referrers': contentIn(
      await regctl('image', 'copy', '--referrers', at(image), `ocidir://${folder}/app:1.0`),
      folder,
    ),
    'manifest get, schema 1': hashOf(
      await regctl('manifest', 'get', '--format', 'raw-body', at(old)),
    ),
    'tag ls': lines(await regctl('tag', 'ls', at(repository))),
  }
}

async function askOras(t: Bench, { address, prefix }: Registry): Promise<Results> {
  const oras = runner('oras', makeFolder(t))
  const folder = makeFolder(t)
  const at = (name: string) => `${address}/${prefix}${name}`
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
