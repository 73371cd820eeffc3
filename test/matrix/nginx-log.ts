// nginx's access log, as far as it tells who came and whether they were let in.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** One line of the log. */
export interface Visit {
  status: number
  target: string
  /** Subject of the client certificate, `-` without one. */
  client: string
  /** `SUCCESS`, `NONE`, or `FAILED:` and why. */
  verified: string
}

/** The requests for anything in a repository. */
export function visits(nginxRun: string, repository: string): Visit[] {
  const file = join(nginxRun, 'access.log')
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap(parseLine)
    .filter(({ target }) => target.startsWith(`/v2/${repository}/`))
}

function parseLine(line: string): Visit[] {
  const fields = /^(\d+) "\S+ (\S+)[^"]*" "([^"]*)" (.*)$/.exec(line)
  if (fields === null) return []
  const [, status, target = '', client = '', verified = ''] = fields
  return [{ status: Number(status), target, client, verified }]
}
