// `portcullis health`: does the gateway of this machine serve pulls? For the health checks of containers.
import { askInFolder } from '../../admin/control-socket.ts'
import { loadConfig } from '../../config/load.ts'
import { messageOf, systemCode } from '../../errors.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption } from '../options.ts'
import { printLine } from '../output/print.ts'

/** Less than the health check of the image has, so that what is said is seen there, ms. */
const patience = 5000

export const command = defineCommand({
  usage: 'health [--config FILE]',
  summary: 'Says whether the gateway on this machine serves pulls; exit code 1 if not.',
  options: { config: configOption },
  takesArguments: false,

  async run({ values }) {
    const { cache } = await loadConfig(configFile(values.config))
    const answer = await readiness(cache.dir)
    if (typeof answer === 'string') {
      printLine(answer)
      return 1
    }
    const { status, problems, warnings } = JSON.parse(answer.body) as Record<string, unknown>
    printLine(String(status))
    for (const problem of problems as string[]) printLine(`problem: ${problem}`)
    for (const warning of warnings as string[]) printLine(`warning: ${warning}`)
    return answer.status === 200 ? 0 : 1
  },
})

/** The answer of `/readyz`, which needs no certificate by the socket in the cache folder; or why there is none. */
async function readiness(dir: string): Promise<{ status: number; body: string } | string> {
  try {
    const answer = await askInFolder(dir, { method: 'GET', path: '/readyz', patience })
    return answer ?? `no gateway uses ${dir}`
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(systemCode(error))) return messageOf(error)
    return `${dir} cannot be used (${systemCode(error)}): run this as the user of the gateway`
  }
}
