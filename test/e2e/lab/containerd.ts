// containerd with everything of its own, and `ctr` to drive it.
import { existsSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'
import type { Pair } from './certificates.ts'
import { runEnclosed, startEnclosed } from './enclosure.ts'
import { makeFolder, subfolder } from './folder.ts'
import { run, type Outcome } from './program.ts'

/** What a hosts.toml says about the one server to ask. */
export interface Host {
  url: string
  ca: string
  client?: Pair
  headers?: Record<string, string>
}

export interface Containerd {
  /** Where it listens. */
  socket: string
  /** Runs `ctr` and resolves with whatever came of it. */
  ctr: (...args: string[]) => Promise<Outcome>
  /** `ctr images pull`, of an image whose registry is asked for at `host`; `options` are ctr's. */
  pull: (image: string, host: Host, ...options: string[]) => Promise<Outcome>
  /** `ctr run` to the end of the container. */
  runImage: (image: string) => Promise<Outcome>
}

export interface ContainerdOptions {
  /** The folder of `containerd`, `ctr` and the shim; on PATH unless told. */
  programs?: string
  /** What the node has in its /etc/containerd; what Kubernetes asks reads it as well. */
  etc?: string
}

/** Starts a containerd with nothing in it, in namespaces of its own. Needs root. */
export async function startContainerd(
  t: Pick<Test, 'teardown'>,
  { programs, etc }: ContainerdOptions = {},
): Promise<Containerd> {
  const folder = makeFolder(t)
  const socket = join(folder, 'containerd.sock')
  const file = join(folder, 'config.toml')
  writeFileSync(file, configOf(folder, socket, etc !== undefined))
  const program = (name: string) => (programs === undefined ? name : join(programs, name))
  const path = [programs ?? [], process.env['PATH'] ?? ''].flat().join(delimiter)
  const env = { CONTAINERD_ADDRESS: socket, HOME: subfolder(folder, 'home'), PATH: path }
  // Of hosts.toml 1.6 reads that of `ctr`, 2 that of the daemon.
  const overlays = etc === undefined ? {} : { '/etc/containerd': etc }
  const ctr = (...args: string[]) =>
    etc === undefined
      ? run(program('ctr'), args, { env })
      : runEnclosed({ folder, overlays, command: program('ctr'), args, env })
  await startEnclosed(t, {
    folder,
    overlays,
    command: program('containerd'),
    args: ['--config', file],
    env,
    ready: async () => existsSync(socket) && (await ctr('version')).code === 0,
  })
  let containers = 0
  return {
    socket,
    ctr,
    pull: (image, host, ...options) => {
      const hosts = join(folder, 'certs.d')
      const registry = image.slice(0, image.indexOf('/'))
      writeFileSync(join(subfolder(hosts, registry), 'hosts.toml'), hostsToml(host))
      return ctr('images', 'pull', '--hosts-dir', hosts, ...options, image)
    },
    runImage: (image) => {
      const fifos = join(folder, 'fifo')
      return ctr('run', '--rm', '--fifo-dir', fifos, image, `container-${(containers += 1)}`)
    },
  }
}

/** For 1.6, and for 2, which takes it as well. */
function configOf(folder: string, socket: string, hasCri: boolean): string {
  const off = [
    'io.containerd.grpc.v1.cri',
    'io.containerd.cri.v1.images',
    'io.containerd.cri.v1.runtime',
  ]
  return `version = 2
root = "${join(folder, 'root')}"
state = "${join(folder, 'state')}"
disabled_plugins = ${JSON.stringify(hasCri ? [] : off)}

[grpc]
  address = "${socket}"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`
}

function hostsToml({ url, ca, client, headers = {} }: Host): string {
  const sent = Object.entries(headers).map(([name, value]) => `  ${name} = ["${value}"]\n`)
  return `server = "${url}"

[host."${url}"]
  capabilities = ["pull", "resolve"]
  ca = "${ca}"
${client === undefined ? '' : `  client = [["${client.cert}", "${client.key}"]]`}
${sent.length === 0 ? '' : `[host."${url}".header]\n${sent.join('')}`}`
}
