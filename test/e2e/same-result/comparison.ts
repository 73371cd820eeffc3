// Asks registries by every client that is here, directly and through a gateway. Run by itself, it prints
// the table: `node test/e2e/same-result/comparison.ts`.
import type { Test } from 'tap'
import { digestOf } from '../../../src/oci/digest.ts'
import { run } from '../lab/program.ts'
import { withScope } from '../lab/scope.ts'
import { clients, type Client } from './clients.ts'
import { siteKinds, type Site } from './sites.ts'

export interface Row {
  what: string
  direct: readonly string[]
  gateway: readonly string[]
}

type Bench = Pick<Test, 'teardown'>

/** What one client gets in both ways. */
export async function compare(t: Bench, site: Site, { ask }: Client): Promise<Row[]> {
  const direct = await ask(t, site.direct)
  const gateway = await ask(t, site.gateway)
  return Object.entries(direct).map(([what, found]) => ({
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
  printRow('registry', 'client', 'asked', 'directly', 'through the gateway')
  printRow('-', '-', '-', '-', '-')
  for (const { name, start, missing } of siteKinds) {
    if (missing !== undefined) {
      printRow(name, 'any', `skipped: ${missing}`)
      continue
    }
    await withScope(async (t) => {
      const site = await start(t)
      for (const client of clients) await printClient(t, name, site, client)
    })
  }
}

async function printClient(t: Bench, registry: string, site: Site, client: Client): Promise<void> {
  if (client.program === undefined) {
    printRow(registry, client.name, 'skipped: not found')
    return
  }
  const { stdout } = await run(client.program, client.version)
  const version = /\d+\.\d[\w.+~-]*/.exec(stdout)?.[0] ?? ''
  for (const { what, direct, gateway } of await compare(t, site, client)) {
    const isSame = JSON.stringify(direct) === JSON.stringify(gateway)
    const result = `${isSame ? 'the same' : 'DIFFERS'}: ${summary(gateway)}`
    printRow(registry, `${client.name} ${version}`, what, summary(direct), result)
  }
}

function printRow(...cells: string[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}

if (import.meta.main) await printTable()
