// Programs that `go install` brings, and no package of Debian.
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { findProgram } from '../../requirements.ts'

/** On PATH, or where `go install` puts it, which is on few PATHs. */
export function findGoProgram(name: string): string | undefined {
  const folder = process.env['GOPATH'] ?? join(homedir(), 'go')
  const installed = join(folder, 'bin', name)
  return findProgram(name) ?? (existsSync(installed) ? installed : undefined)
}
