// A region as it is run: three replicas behind haproxy, an origin behind them, and a store that they share.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { findGoProgram } from '../../test/e2e/lab/go-program.ts'
import { freePort } from '../../test/e2e/lab/program.ts'
import { startGateway } from '../lab/gateway.ts'
import { startOrigin, type Origin } from '../lab/nginx.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import { isListening, startServer, type Server } from '../lab/server.ts'
import type { Site } from '../lab/site.ts'

export interface Region {
  origin: Origin
  replicas: Server[]
  balancer: Server
}

export interface RealStore {
  /** The section `cache.shared`. */
  section: object
  /** Requests since it was asked last, by method. */
  requests: () => Record<string, number>
}

const bucket = 'images'
const user = 'test-access'
const secret = 'test-secret-key'

/** @param options.name tells regions on one site apart */
export async function startRegion(
  scope: Scope,
  site: Site,
  options: { name: string; content: SampleContent; store?: RealStore },
): Promise<Region> {
  const folder = subfolder(site.folder, options.name)
  const origin = await startOrigin(scope, { ...site, folder, content: options.content })
  return { origin, ...(await startReplicas(scope, site, { ...options, originPort: origin.port })) }
}

/** The same without an origin of its own: nobody need answer on `originPort`. */
export async function startReplicas(
  scope: Scope,
  site: Site,
  options: { name: string; originPort: number; store?: RealStore },
): Promise<Pick<Region, 'replicas' | 'balancer'>> {
  const { name, originPort, store } = options
  const { identities, certificates } = site
  const folder = subfolder(site.folder, name)
  const replica = await certificates.issue(`${name}-replica`, 'edge', { commonName: 'replica' })
  const ports = [await freePort(), await freePort(), await freePort()]
  const sections = {
    replicas: {
      list: ports.map((port) => `127.0.0.1:${port}`),
      identity: ['replica'],
      tls: { ca: identities.ca, ...replica },
    },
    cache: { dir: 'cache', ...(store && { shared: store.section }) },
  }
  const replicas = await Promise.all(
    ports.map(async (port, index) =>
      startGateway(scope, { folder, identities, originPort, name: `r${index}`, port, sections }),
    ),
  )
  return { replicas, balancer: await startBalancer(scope, folder, ports) }
}

/** haproxy in TCP mode, in turn: the clients' TLS ends in the replicas. */
async function startBalancer(
  scope: Scope,
  site: string,
  ports: readonly number[],
): Promise<Server> {
  const folder = subfolder(site, 'balancer')
  const port = await freePort()
  const file = join(folder, 'haproxy.cfg')
  const servers = ports.map((to, at) => `  server replica-${at} 127.0.0.1:${to}`)
  writeFileSync(
    file,
    `global
  nbthread 1
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
listen registry
  bind 127.0.0.1:${port}
  balance roundrobin
${servers.join('\n')}
`,
  )
  return startServer(scope, {
    name: 'haproxy',
    folder,
    command: 'haproxy',
    args: ['-db', '-f', file],
    ready: async () => ((await isListening(port)) ? port : undefined),
  })
}

/** versitygw with an empty bucket; undefined where it is not installed. */
export async function startStore(scope: Scope, site: Site): Promise<RealStore | undefined> {
  const program = findGoProgram('versitygw')
  if (program === undefined) return undefined
  const folder = subfolder(site.folder, 'store')
  mkdirSync(join(folder, 'buckets', bucket), { recursive: true })
  const log = join(folder, 'access.log')
  const port = await freePort()
  await startServer(scope, {
    name: 'versitygw',
    folder,
    command: program,
    args: [
      '--port',
      `127.0.0.1:${port}`,
      '--access-log',
      log,
      '--quiet',
      'posix',
      join(folder, 'buckets'),
    ],
    env: { ROOT_ACCESS_KEY: user, ROOT_SECRET_KEY: secret },
    ready: async () => ((await isListening(port)) ? port : undefined),
  })
  const credentials = join(folder, 'credentials')
  writeFileSync(
    credentials,
    `[default]\naws_access_key_id = ${user}\naws_secret_access_key = ${secret}\n`,
    { mode: 0o600 },
  )
  let seen = 0
  return {
    section: {
      s3: {
        endpoint: `http://127.0.0.1:${port}`,
        bucket,
        pathStyle: true,
        credentials: { file: credentials },
      },
    },
    requests() {
      const lines = readFileSync(log, { encoding: 'utf8', flag: 'a+' }).trim().split('\n')
      const fresh = lines.slice(seen).filter((line) => line !== '')
      seen += fresh.length
      const counts: Record<string, number> = {}
      for (const line of fresh) {
        const method = /\bs3_([A-Z][a-z]+)/.exec(line)?.[1]
        if (method === undefined) continue
        counts[method] = (counts[method] ?? 0) + 1
      }
      return counts
    },
  }
}
