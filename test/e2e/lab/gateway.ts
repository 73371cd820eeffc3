// The gateway as its users run it: a process of its own, with a config file.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { makeFolder } from './folder.ts'
import type { Lab } from './lab.ts'
import { startProgram, until, type Program } from './program.ts'

const main = join(import.meta.dirname, '../../../src/main.ts')

/** A line of the log. */
export type LogLine = Record<string, unknown>

export interface Gateway {
  port: number
  /** `127.0.0.1:port` */
  address: string
  folder: string
  program: Program
  log: () => LogLine[]
  /** The first line of the log that `wanted` accepts, waited for. */
  logged: (what: string, wanted: (line: LogLine) => boolean) => Promise<LogLine>
  /** The largest that its memory ever was, in bytes. */
  peakMemory: () => number
  memory: () => number
}

export type Section = Record<string, unknown>

/** The name by which clients ask for the registry of the lab. */
export const upstreamName = 'registry.local'

/** The config of a gateway in front of `lab`: certificates demanded, one upstream, free ports. */
export function configFor(lab: Lab): Record<'listen' | 'admin' | 'upstreams', Section> {
  const { ca, gateway } = lab.certificates
  return {
    listen: {
      host: '127.0.0.1',
      port: 0,
      tls: { ...gateway, clientAuth: 'required', clientCa: [ca.edge] },
    },
    admin: { port: 0 },
    upstreams: { [upstreamName]: upstreamFor(lab) },
  }
}

/** How the registry of the lab is reached; `tls` replaces parts of what is right. */
export function upstreamFor({ nginx, certificates }: Lab, tls: Section = {}): Section {
  const { ca, gatewayClient } = certificates
  return { url: nginx.url, tls: { ca: ca.upstream, ...gatewayClient, ...tls } }
}

/** Writes the config into a folder of its own, with the cache beside it: the path of the file. */
export function writeConfig(t: Pick<Test, 'teardown'>, config: Section): string {
  const folder = makeFolder(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, stringify({ cache: { dir: 'cache' }, ...config }))
  return file
}

export function serveCommand(file: string): string[] {
  return [process.execPath, main, 'serve', '--config', file]
}

/**
 * Starts a gateway with an empty cache, stopped and removed with the test.
 * @param by a command that starts it, such as one that gives it namespaces of its own
 */
export async function startGateway(
  t: Pick<Test, 'teardown'>,
  config: Section,
  by: readonly string[] = [],
): Promise<Gateway> {
  return startConfigured(t, writeConfig(t, config), by)
}

/** The same by a config file that is there, and with what its cache holds. */
export async function startConfigured(
  t: Pick<Test, 'teardown'>,
  file: string,
  by: readonly string[] = [],
): Promise<Gateway> {
  const [command = '', ...args] = [...by, ...serveCommand(file)]
  const ready = (program: Program) => logLines(program.output()).some(isListening)
  const program = await startProgram(t, { command, args, ready })
  const log = () => logLines(program.output())
  const logged: Gateway['logged'] = async (what, wanted) => {
    await until(`the gateway has logged ${what}`, async () => log().some(wanted))
    return log().find(wanted) ?? {}
  }
  const { port } = await logged('its port', isListening)
  return {
    port: Number(port),
    address: `127.0.0.1:${Number(port)}`,
    folder: join(file, '..'),
    program,
    log,
    logged,
    memory: () => statusOf(program.pid, 'VmRSS'),
    peakMemory: () => statusOf(program.pid, 'VmHWM'),
  }
}

function isListening({ msg }: LogLine): boolean {
  return msg === 'listening'
}

/** Lines that are no JSON are warnings of Node and the like. */
function logLines(output: string): LogLine[] {
  return output.split('\n').flatMap((line) => {
    try {
      return line.startsWith('{') ? [JSON.parse(line) as LogLine] : []
    } catch {
      return []
    }
  })
}

function statusOf(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
}
