// ociregistry and zot as pull-through caches over mutual TLS.
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { freePort } from '../../test/e2e/lab/program.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import { isListening, startServer, type Identities, type Server } from '../lab/server.ts'

interface CacheOptions {
  folder: string
  identities: Identities
  program: string
  /** Of a server that wants no certificate. */
  originPort: number
}

/** It learns from a query, as containerd asks a mirror, which upstream is meant. */
export async function startOciregistry(
  scope: Scope,
  { folder: parent, identities, program, originPort }: CacheOptions,
): Promise<Server> {
  const folder = subfolder(parent, 'ociregistry')
  const port = await freePort()
  const upstream = `127.0.0.1:${originPort}`
  const file = join(folder, 'config.yaml')
  writeFileSync(
    file,
    stringify({
      imagePath: subfolder(folder, 'images'),
      logLevel: 'info',
      port,
      registries: [{ name: upstream, scheme: 'https', tls: { ca: identities.ca } }],
      serverTlsConfig: { ...identities.server, ca: identities.ca, clientAuth: 'verify' },
    }),
  )
  const server = await startServer(scope, {
    name: 'ociregistry',
    folder,
    command: program,
    args: ['--config-file', file, 'serve'],
    ready: async () => ((await isListening(port)) ? port : undefined),
  })
  return { ...server, query: `?ns=${upstream}` }
}

export async function startZot(
  scope: Scope,
  { folder: parent, identities, program, originPort }: CacheOptions,
): Promise<Server> {
  const folder = subfolder(parent, 'zot')
  const port = await freePort()
  const file = join(folder, 'config.json')
  const certDir = subfolder(folder, 'certificates')
  copyFileSync(identities.ca, join(certDir, 'ca.crt'))
  const { cert, key } = identities.server
  const registry = {
    urls: [`https://127.0.0.1:${originPort}`],
    onDemand: true,
    tlsVerify: true,
    certDir,
    content: [{ prefix: '**' }],
  }
  writeFileSync(
    file,
    JSON.stringify({
      storage: { rootDirectory: subfolder(folder, 'storage') },
      http: { address: '127.0.0.1', port: String(port), tls: { cert, key, cacert: identities.ca } },
      log: { level: 'info' },
      extensions: { sync: { enable: true, registries: [registry] } },
    }),
  )
  return startServer(scope, {
    name: 'zot',
    folder,
    command: program,
    args: ['serve', file],
    ready: async () => ((await isListening(port)) ? port : undefined),
  })
}
