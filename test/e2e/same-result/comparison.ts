// Asks a registry by every client that is here, directly and through a gateway. Run by itself, it prints
// the table: `node test/e2e/same-result/comparison.ts`.
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Test } from 'tap'
import { makeFolder } from '../lab/folder.ts'
import { startGateway, upstreamName } from '../lab/gateway.ts'
import { run } from '../lab/program.ts'
import { startDockerRegistry } from '../lab/registry.ts'
import { buildSchema1Image } from '../lab/schema1.ts'
import { clients, type Client, type Registry } from './clients.ts'

export interface Row {
  client: string
  what: string
  direct: readonly string[]
  gateway: readonly string[]
}

export interface Site {
  direct: Registry
  gateway: Registry
}

/** docker-registry with an index that has a referrer and a signed manifest of schema 1; a gateway. */
export async function startSite(t: Pick<Test, 'teardown'>): Promise<Site> {
  const registry = await startDockerRegistry(t, makeFolder(t))
  await registry.push('sample/app', await buildSampleImage({ layerBytes: 2 ** 20 }))
  await registry.push('sample/old', buildSchema1Image('sample/old'))
  const gateway = await startGateway(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url: `http://${registry.address}` } },
  })
  return {
    direct: { address: registry.address, prefix: '' },
    gateway: { address: gateway.address, prefix: `${upstreamName}/` },
  }
}

/** What one client gets in both ways. */
export async function compare(
  t: Pick<Test, 'teardown'>,
  site: Site,
  { name, ask }: Client,
): Promise<Row[]> {
  const direct = await ask(t, site.direct)
  const gateway = await ask(t, site.gateway)
  return Object.entries(direct).map(([what, found]) => ({
    client: name,
    what,
    direct: found,
    gateway: gateway[what] ?? [],
  }))
}

/** One digest for all that was found: equal where each of them is. */
function summary(found: readonly string[]): string {
  if (found.length === 1) return found[0] ?? ''
  return `${found.length} of ${digestOf(Buffer.from(found.join('\n'))).slice(0, 19)}`
}

async function printTable(): Promise<void> {
  const ends: (() => unknown)[] = []
  const t = { teardown: (end: () => unknown) => void ends.unshift(end) } as Pick<Test, 'teardown'>
  try {
    const site = await startSite(t)
    process.stdout.write('| client | asked | directly | through the gateway |\n| - | - | - | - |\n')
    for (const client of clients) {
      if (client.program === undefined) {
        process.stdout.write(`| ${client.name} | skipped: not found | | |\n`)
        continue
      }
      const { stdout } = await run(client.program, client.version)
      const version = /\d[\w.+~-]*/.exec(stdout)?.[0] ?? ''
      for (const { what, direct, gateway } of await compare(t, site, client)) {
        const isSame = JSON.stringify(direct) === JSON.stringify(gateway)
        const result = `${isSame ? 'the same' : 'DIFFERS'}: ${summary(gateway)}`
        process.stdout.write(
          `| ${client.name} ${version} | ${what} | ${summary(direct)} | ${result} |\n`,
        )
      }
    }
  } finally {
    for (const end of ends) await end()
  }
}

if (import.meta.main) await printTable()
