// Namespaces for container engines: what they mount, run and write to system folders ends with them.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { run, startProgram, type Outcome, type Program, type ProgramOptions } from './program.ts'

export interface Enclosed {
  /** Where the lab's own files of this engine are. */
  folder: string
  command: string
  args: readonly string[]
  env?: Record<string, string>
  /** Interfaces and firewall rules of its own, so that it cannot reach what is outside. */
  ownNetwork?: boolean
  /** Files and folders, by the path at which they appear inside. */
  overlays?: Record<string, string>
}

const enter = `
for folder in /run /dev/shm /var/lib; do mount -t tmpfs tmpfs "$folder" || exit; done
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit; shift 2; done
shift
exec "$@"
`

/**
 * Starts a daemon as the first process of PID and mount namespaces, which needs root. When it is
 * killed, also by the end of the test process, all that it has started is killed.
 */
export function startEnclosed(
  t: Pick<Test, 'teardown'>,
  options: Enclosed & Pick<ProgramOptions, 'ready'>,
): Promise<Program> {
  const { env, ready } = options
  return startProgram(t, {
    command: 'unshare',
    args: enclose(options),
    endedBy: 'SIGKILL',
    ...(env === undefined ? {} : { env }),
    ...(ready === undefined ? {} : { ready }),
  })
}

/** Runs a program to its end in the same way; without root, as it is. */
export function runEnclosed(options: Enclosed): Promise<Outcome> {
  const { command, args, env = {} } = options
  if (process.getuid?.() !== 0) return run(command, args, { env })
  return run('unshare', enclose(options), { env })
}

function enclose(options: Enclosed): string[] {
  const { folder, command, args, overlays = {}, ownNetwork = false } = options
  const script = join(folder, 'enter.sh')
  writeFileSync(script, enter)
  const mounts = Object.entries(overlays).flatMap(([target, source]) => [source, target])
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  if (ownNetwork) namespaces.push('--net')
  return [...namespaces, 'sh', script, ...mounts, '--', command, ...args]
}
