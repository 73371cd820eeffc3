// containerd with everything of its own, and `ctr` to drive it.
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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
  /** Runs `ctr` and resolves with whatever came of it. */
  ctr: (...args: string[]) => Promise<Outcome>
  /** `ctr images pull`, of an image whose registry is asked for at `host`; `options` are ctr's. */
  pull: (image: string, host: Host, ...options: string[]) => Promise<Outcome>
  /** Runs `ctr` on a node that has the files below `etc` in its /etc/containerd. */
  ctrWith: (etc: string, ...args: string[]) => Promise<Outcome>
  /** `ctr run` to the end of the container. */
  runImage: (image: string) => Promise<Outcome>
}

/** Starts a containerd with nothing in it, in namespaces of its own. Needs root. */
export async function startContainerd(t: Pick<Test, 'teardown'>): Promise<Containerd> {
  const folder = makeFolder(t)
  const socket = join(folder, 'containerd.sock')
  const file = join(folder, 'config.toml')
  writeFileSync(file, configOf(folder, socket))
  const env = { CONTAINERD_ADDRESS: socket, HOME: subfolder(folder, 'home') }
  const ctr = (...args: string[]) => run('ctr', args, { env })
  await startEnclosed(t, {
    folder,
    command: 'containerd',
    args: ['--config', file],
    ready: async () => existsSync(socket) && (await ctr('version')).code === 0,
  })
  let containers = 0
  return {
    ctr,
    pull: (image, host, ...options) => {
      const hosts = join(folder, 'certs.d')
      const registry = image.slice(0, image.indexOf('/'))
      writeFileSync(join(subfolder(hosts, registry), 'hosts.toml'), hostsToml(host))
      return ctr('images', 'pull', '--hosts-dir', hosts, ...options, image)
    },
    ctrWith: (etc, ...args) =>
      runEnclosed({ folder, overlays: { '/etc/containerd': etc }, command: 'ctr', args, env }),
    runImage: (image) => {
      const fifos = join(folder, 'fifo')
      return ctr('run', '--rm', '--fifo-dir', fifos, image, `container-${(containers += 1)}`)
    },
  }
}

function configOf(folder: string, socket: string): string {
  return `version = 2
root = "${join(folder, 'root')}"
state = "${join(folder, 'state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "${socket}"
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
