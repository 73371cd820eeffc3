// The command line of the matrix; scripts/matrix starts it.
import { parseArgs } from 'node:util'
import { UsageError } from '../../src/errors.ts'
import { createScope } from '../e2e/lab/scope.ts'
import { walkInContainers } from './compose.ts'
import { walkNatively } from './native.ts'
import { situationNamed, situationNames } from './plan.ts'
import { reportOf, writeReport } from './report.ts'

const usage = `usage: scripts/matrix [--native | --offline] [OPTION ...]

Walks the matrix of the four upstream TLS modes and every upstream situation, and of clientAuth and
every client certificate, and prints what came of each cell. Exit code 0: all as they must be; 1: some
are not, or it cannot be run; 2: wrong usage.

  --native            this machine's nginx and docker-registry instead of containers
  --offline           containers from stand-in images, made of this machine's programs
  --json              the report as one line of JSON
  --junit FILE        the report as JUnit XML, too
  --break SITUATION   gives that nginx server the wrong certificate, to see the matrix fail; once for
                      each: ${situationNames.join(', ')}
  --first-port N      with --native: use port N and those that follow; else any free ones
`

const scope = createScope()

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void scope.end().finally(() => process.exit(130)))
}
try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = isUsage(error) ? 2 : 1
} finally {
  await scope.end()
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      native: { type: 'boolean', default: false },
      offline: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      junit: { type: 'string' },
      break: { type: 'string', multiple: true, default: [] },
      'first-port': { type: 'string' },
    },
  })
  const { help, native, offline, json, junit } = values
  if (help) {
    process.stdout.write(usage)
    return 0
  }
  const broken = values.break.map(situationNamed)
  const firstPort = portOf(values['first-port'])
  const cells = native
    ? await walkNatively(scope, { broken, firstPort })
    : await walkInContainers(scope, { broken, offline })
  const report = reportOf(native ? 'native' : 'compose', cells)
  return writeReport(report, { json, junit, colour: process.stdout.isTTY && !json })
}

/** 14 ports follow it. */
function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const port = Number(text)
  if (Number.isInteger(port) && port > 0 && port < 65_500) return port
  throw new UsageError([{ path: '--first-port', message: 'must be a number from 1 to 65499' }])
}

function isUsage(error: unknown): boolean {
  if (error instanceof UsageError) return true
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE')
}
