// The matrix on this machine: its nginx, its docker-registry, and four gateways.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { makeFolder, subfolder } from '../e2e/lab/folder.ts'
import { serveCommand } from '../e2e/lab/gateway.ts'
import { freePort, startProgram } from '../e2e/lab/program.ts'
import { startDockerRegistry } from '../e2e/lab/registry.ts'
import { findProgram } from '../requirements.ts'
import { gatewayConfig, writeLab, type LabOptions } from './lab.ts'
import { nativePlaces, type Places } from './places.ts'
import { gatewayNames } from './plan.ts'
import { walk, type Cell } from './walk.ts'

export interface NativeOptions extends LabOptions {
  /** The ports are this one and those that follow; any free ones when absent. */
  firstPort?: number | undefined
}

/** Throws an Error that says which program is missing or which port is taken. */
export async function walkNatively(
  t: Pick<Test, 'teardown'>,
  options: NativeOptions,
): Promise<Cell[]> {
  for (const program of ['nginx', 'docker-registry', 'setpriv']) {
    if (findProgram(program) !== undefined) continue
    throw new Error(
      `${program} is missing (Debian: apt-get install nginx-light docker-registry util-linux); with a Docker engine, leave out --native`,
    )
  }
  const folder = makeFolder(t)
  const places = await nativePlaces(folder, portsFrom(options.firstPort))
  await writeLab(places, options)
  await startDockerRegistry(t, folder, { at: places.registry })
  await startNginx(t, places)
  await Promise.all(
    gatewayNames.map(async (name) => {
      const [command = '', ...args] = serveCommand(gatewayConfig(places.lab, name))
      await startProgram(t, {
        command,
        args,
        ready: ({ output }) => output().includes('"listening"'),
      })
    }),
  )
  return walk(places)
}

async function startNginx(t: Pick<Test, 'teardown'>, { lab, nginxRun, nginx }: Places) {
  subfolder(nginxRun)
  await startProgram(t, {
    command: 'nginx',
    args: ['-c', join(lab, 'nginx.conf'), '-e', 'stderr'],
    ready: () =>
      fetch(`http://127.0.0.1:${nginx.health}/`).then(
        ({ ok }) => ok,
        () => false,
      ),
  })
}

/** Gives ports that nobody listens on, never one twice. */
function portsFrom(firstPort: number | undefined): (what: string) => Promise<number> {
  const given = new Set<number>()
  return async (what) => {
    let port = firstPort === undefined ? await freePort() : firstPort + given.size
    while (given.has(port)) port = await freePort()
    given.add(port)
    if (firstPort !== undefined) await mustBeFree(port, what)
    return port
  }
}

async function mustBeFree(port: number, what: string): Promise<void> {
  const server = createServer()
  try {
    await once(server.listen(port), 'listening')
  } catch (cause) {
    const advice = 'end what listens there, choose another --first-port, or leave it out'
    throw new Error(`port ${port}, meant for ${what}, is taken: ${advice}`, { cause })
  }
  await new Promise((resolve) => server.close(resolve))
}
