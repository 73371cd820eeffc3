// `portcullis check`: is the config right, and what does it come to?
import { parseArgs } from 'node:util'
import { effectiveConfig } from '../config/effective.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { UsageError, type Problem } from '../errors.ts'
import { readSecureContext } from '../listener/credentials.ts'
import type { Command } from './command.ts'
import { configFile } from './config-file.ts'

export const command: Command = {
  usage: 'check [--config FILE]',
  summary: 'Validates the config and the files it names, and prints it with every default.',

  async run(argv) {
    const { values } = parseArgs({ args: [...argv], options: { config: { type: 'string' } } })
    const config = await loadConfig(configFile(values.config))
    const problems = fileProblems(config)
    if (problems.length > 0) throw new UsageError(problems)
    for (const warning of warnings(config)) process.stderr.write(`warning: ${warning}\n`)
    process.stdout.write(effectiveConfig(config))
    return 0
  },
}

/** What is wrong with the certificate files: read as at a start, and then let go. */
function fileProblems({ listen, admin }: Config): Problem[] {
  return [
    ...(listen.insecureHttp ? [] : problemsOf(() => readSecureContext(listen.tls, 'listen.tls'))),
    ...(admin.tls.cert === undefined
      ? []
      : problemsOf(() => readSecureContext(admin.tls, 'admin.tls'))),
  ]
}

function problemsOf(attempt: () => unknown): readonly Problem[] {
  try {
    attempt()
    return []
  } catch (error) {
    if (error instanceof UsageError) return error.problems
    throw error
  }
}

/** What is allowed and should not be left so. */
function warnings({ listen, upstreams }: Config): string[] {
  const unchecked = Object.entries(upstreams).filter(([, { tls }]) => !tls.verify)
  return [
    ...(listen.insecureHttp
      ? ['listen.insecureHttp: nothing is encrypted and nobody is identified']
      : []),
    ...unchecked.map(
      ([name]) => `upstreams.${name}.tls.verify: the certificate of the upstream is not checked`,
    ),
  ]
}
