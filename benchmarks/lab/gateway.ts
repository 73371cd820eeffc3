// Portcullis as its users run it: identity, policy and a log line for each request.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { repository } from './content.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import { startServer, type Identities, type Server } from './server.ts'

const here = join(import.meta.dirname, '../..')

/**
 * Starts a gateway with an empty cache in front of the server on `originPort`.
 * @param options.checkout the folder of another version, to be compared with this one
 */
export function startGateway(
  scope: Scope,
  options: {
    folder: string
    identities: Identities
    originPort: number
    checkout?: string
    /** The program; the sources of the checkout unless told. */
    program?: string
    /** Told apart by it where several run. */
    name?: string
    /** Any free one unless told. */
    port?: number
    /** Further sections of the config, and in the place of those here. */
    sections?: Record<string, unknown>
    /** Of Node. */
    flags?: readonly string[]
    workers?: number
  },
): Promise<Server> {
  const { identities, originPort, checkout = here, port = 0, flags = [], workers = 1 } = options
  const { name = checkout === here ? 'portcullis' : 'other' } = options
  const { program = join(checkout, 'src/main.ts') } = options
  const folder = subfolder(options.folder, name)
  const { ca, server, client } = identities
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    stringify({
      ...(workers > 1 && { workers }),
      listen: {
        host: '127.0.0.1',
        port,
        tls: { ...server, clientAuth: 'required', clientCa: [ca] },
      },
      admin: { port: 0 },
      policy: {
        default: 'deny',
        rules: [{ who: { cn: 'edge-*' }, repositories: [`origin.local/${repository}`] }],
      },
      cache: { dir: 'cache' },
      upstreams: {
        'origin.local': {
          url: `https://127.0.0.1:${originPort}`,
          tls: { ca, ...client },
          tagTtl: '1d',
        },
      },
      defaultUpstream: 'origin.local',
      ...options.sections,
    }),
  )
  return startServer(scope, {
    name,
    folder,
    command: process.execPath,
    args: [...profiling(), ...flags, program, 'serve', '--config', file],
    ready: async (output) => {
      const ready =
        workers > 1 ? /"port":(\d+).*"msg":"all workers serve"/ : /"port":(\d+).*"msg":"listening"/
      const listening = ready.exec(output)?.[1]
      return listening === undefined ? undefined : Number(listening)
    },
  })
}

/** Where `PROFILE` names a folder, the gateway leaves a CPU profile there when it is stopped. */
function profiling(): string[] {
  const folder = process.env['PROFILE']
  return folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`]
}
