// docker-registry over mutual TLS: with content of its own, or as a pull-through cache.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { freePort } from '../../test/e2e/lab/program.ts'
import { startDockerRegistry } from '../../test/e2e/lab/registry.ts'
import { repository } from './content.ts'
import { createScope, type Scope } from '../../test/e2e/lab/scope.ts'
import { isListening, startServer, type Identities, type Server } from './server.ts'

interface RegistryOptions {
  folder: string
  identities: Identities
  /** Percent by which the heap of a Go program may grow before it is collected; 100 by default. */
  gogc?: number
}

/** Starts one that holds `content`. */
export async function startRegistry(
  scope: Scope,
  options: RegistryOptions & { content: SampleContent },
): Promise<Server> {
  const { gogc, content } = options
  const folder = subfolder(options.folder, `registry-${gogc ?? 'default'}`)
  // Pushed without TLS, by a process that is gone when the other one starts.
  const seeding = createScope()
  try {
    const { push } = await startDockerRegistry(seeding, folder)
    await push(repository, content)
  } finally {
    await seeding.end()
  }
  return start(scope, { ...options, folder, name: 'docker-registry' })
}

/** Starts an empty one that fetches from the server on `originPort`, without a client certificate. */
export function startRegistryCache(
  scope: Scope,
  options: RegistryOptions & { originPort: number; name?: string; program?: string },
): Promise<Server> {
  const { name = 'docker-registry proxy' } = options
  const folder = subfolder(options.folder, name.replaceAll(' ', '-'))
  const proxy = { remoteurl: `https://127.0.0.1:${options.originPort}` }
  return start(scope, { ...options, folder, name, config: { proxy } })
}

async function start(
  scope: Scope,
  options: RegistryOptions & { name: string; program?: string; config?: object },
): Promise<Server> {
  const { name, program = 'docker-registry', folder, identities, gogc, config = {} } = options
  const { ca, server } = identities
  const port = await freePort()
  const file = join(folder, 'served.json')
  const settings = {
    version: '0.1',
    // With the access log this is one line per request.
    log: { level: 'warn', accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: subfolder(folder, 'registry') } },
    http: {
      addr: `127.0.0.1:${port}`,
      tls: { certificate: server.cert, key: server.key, clientcas: [ca] },
    },
    ...config,
  }
  // The file is YAML, of which JSON is a part.
  writeFileSync(file, JSON.stringify(settings))
  return startServer(scope, {
    name: gogc === undefined ? name : `${name}, GOGC=${gogc}`,
    folder,
    command: program,
    args: ['serve', file],
    env: { SSL_CERT_FILE: ca, ...(gogc === undefined ? {} : { GOGC: String(gogc) }) },
    ready: async () => ((await isListening(port)) ? port : undefined),
  })
}
