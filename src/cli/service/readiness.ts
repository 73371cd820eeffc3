// Asks the gateway of this machine whether it serves pulls, and what is wrong besides.
import { askInFolder } from '../../admin/control-socket.ts'
import { messageOf, systemCode } from '../../errors.ts'

/** What `/readyz` says. */
export interface ToldReadiness {
  status: 'ready' | 'not ready'
  problems: string[]
  warnings: string[]
}

/** Less than the health check of the image has, so that what is said is seen there, ms. */
const patience = 5000

/** The answer of `/readyz`, which needs no certificate by the socket in the cache folder; or why there is none. */
export async function askReadiness(dir: string): Promise<ToldReadiness | string> {
  try {
    const answer = await askInFolder(dir, { method: 'GET', path: '/readyz', patience })
    return answer === undefined
      ? `no gateway uses ${dir}`
      : (JSON.parse(answer.body) as ToldReadiness)
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(systemCode(error))) return messageOf(error)
    return `${dir} cannot be used (${systemCode(error)}): run this as the user of the gateway`
  }
}

export function readinessLines({ status, problems, warnings }: ToldReadiness): string[] {
  return [
    status,
    ...problems.map((problem) => `problem: ${problem}`),
    ...warnings.map((warning) => `warning: ${warning}`),
  ]
}
