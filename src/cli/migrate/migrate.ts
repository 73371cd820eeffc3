// `portcullis migrate`: a config of ours from that of another program, with notes on what differs.
import { readFile } from 'node:fs/promises'
import { stringify } from 'yaml'
import { systemCode, UsageError } from '../../errors.ts'
import { printable } from '../../rules/printable.ts'
import { defineCommand } from '../command.ts'
import { fromDistribution } from './distribution.ts'
import { fromHarbor } from './harbor.ts'
import { fromOciregistry } from './ociregistry.ts'
import { readSource } from './source.ts'

const programs = {
  ociregistry: fromOciregistry,
  distribution: fromDistribution,
  harbor: fromHarbor,
}

export const command = defineCommand({
  usage: 'migrate ociregistry|distribution|harbor FILE',
  summary: 'Prints a config made from that of another program, with a note for what differs.',
  options: {},
  takesArguments: true,

  async run({ positionals: [program = '', file, ...others] }) {
    if (!Object.hasOwn(programs, program) || file === undefined || others.length > 0) {
      const message = `name ${Object.keys(programs).join(', or ')}, and its config file`
      throw new UsageError([{ path: 'migrate', message }])
    }
    const { source, notes } = readSource(await readText(file), file)
    const config = programs[program as keyof typeof programs](source)
    const lines = notes().map(({ path, message }) => printable(`# ${path}: ${message}`))
    const head = `# Made from ${printable(file)} of ${program}. Paths are relative to this file.`
    const rest = 'Try it with portcullis check --config FILE, and portcullis doctor --config FILE.'
    process.stdout.write(`${[head, `# ${rest}`, ...lines].join('\n')}\n\n${stringify(config)}`)
    return 0
  },
})

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new UsageError([{ path: file, message: `cannot be read (${systemCode(error)})` }])
  }
}
