// nginx in front of the registry, from the template that users get.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Pair } from './certificates.ts'
import { subfolder } from './folder.ts'
import { freePort, startProgram, until, type Program } from './program.ts'

const template = join(import.meta.dirname, '../../../nginx/nginx.conf.template')

export interface NginxOptions {
  /** Its own folder. */
  folder: string
  /** `host:port` of the registry behind it. */
  registry: string
  server: Pair
  clientCa: string
  /** `on` unless told otherwise: nginx lets nobody in without a certificate. */
  verifyClient?: 'on' | 'off'
  /** A certificate that it accepts: what the lab itself shows when it asks for the log. */
  client: Pair
}

/** One line of its access log. */
export interface LoggedRequest {
  status: number
  method: string
  target: string
  bodyBytes: number
  /** The Range header, `-` without one. */
  range: string
  /** Subject of the client certificate, `-` without one. */
  client: string
  verified: string
}

export interface Nginx {
  port: number
  /** `https://127.0.0.1:port` */
  url: string
  /** Every request that has been answered since the start, in that order. */
  requests: () => Promise<LoggedRequest[]>
  stop: () => Promise<void>
  /** Starts it again, on the same port. */
  start: () => Promise<void>
}

/** Starts nginx, with two-way TLS unless told otherwise. It may be stopped and started again. */
export async function startNginx(t: Pick<Test, 'teardown'>, options: NginxOptions): Promise<Nginx> {
  const { folder } = options
  const port = await freePort()
  const url = `https://127.0.0.1:${port}`
  subfolder(folder, 'logs')
  subfolder(folder, 'tmp')
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, configOf(port, options))
  const log = join(folder, 'logs/access.log')
  const lines = () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [])
  let program: Program | undefined
  let probes = 0

  const isUp = () =>
    probe(`${url}/`, options.client).then(
      () => true,
      () => false,
    )
  const start = async () => {
    const args = ['-p', folder, '-c', file, '-e', 'logs/error.log']
    program = await startProgram(t, { command: 'nginx', args, ready: isUp })
  }
  await start()

  return {
    port,
    url,
    start,
    stop: async () => {
      await program?.stop()
      program = undefined
    },
    requests: async () => {
      if (program !== undefined) {
        // A line of one's own, after which everything answered before is in the log as well.
        const mark = `/mark/${(probes += 1)}`
        await probe(`${url}${mark}`, options.client)
        await until('nginx has written its log', () => lines().some((line) => line.includes(mark)))
      }
      return lines()
        .flatMap(parseLine)
        .filter(({ target }) => target.startsWith('/v2/'))
    },
  }
}

function configOf(port: number, options: NginxOptions): string {
  const { registry, server, clientCa, verifyClient = 'on' } = options
  const values: Record<string, string> = {
    LISTEN: String(port),
    SERVER_NAME: 'nginx.local',
    REGISTRY: registry,
    CERTIFICATE: server.cert,
    CERTIFICATE_KEY: server.key,
    VERIFY_CLIENT: verifyClient,
    CLIENT_CA: clientCa,
  }
  return readFileSync(template, 'utf8').replaceAll(/\$\{([A-Z_]+)\}/g, (whole, name: string) => {
    const value = values[name]
    if (value === undefined && name !== 'NAMES') throw new Error(`nothing is known of ${whole}`)
    return value ?? whole
  })
}

/** Any answer will do, an untrusted certificate too: the lab has broken servers as well. */
function probe(url: string, { cert, key }: Pair): Promise<void> {
  const identity = { cert: readFileSync(cert), key: readFileSync(key) }
  return new Promise((resolve, reject) => {
    request(url, { ...identity, agent: false, rejectUnauthorized: false }, (response) => {
      response.resume().on('end', resolve)
    })
      .on('error', reject)
      .end()
  })
}

function parseLine(line: string): LoggedRequest[] {
  const fields = /^(\d+) "(\S+) (\S+)[^"]*" (\d+) "([^"]*)" \S+ "([^"]*)" (.*)$/.exec(line)
  if (fields === null) return []
  const [, status, method = '', target = '', bytes, range = '', client = '', verified = ''] = fields
  return [
    {
      status: Number(status),
      method,
      target,
      bodyBytes: Number(bytes),
      range,
      client,
      verified,
    },
  ]
}
