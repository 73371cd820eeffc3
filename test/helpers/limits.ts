// Takes resources away from this very process, and gives them back: real errors of a real kernel.
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { systemCode } from '../../src/errors.ts'

/** No file grows beyond so many bytes, until the returned function is called: EFBIG. */
export function limitFiles(bytes: number): () => void {
  // The kernel sends a signal beside the error, which ends a process that does not care.
  process.on('SIGXFSZ', () => undefined)
  setLimit('fsize', String(bytes))
  return () => setLimit('fsize', 'unlimited')
}

/** How many this process has open. */
export function countDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** Uses up every descriptor, until the returned function is called: EMFILE. */
export function exhaustDescriptors(): () => void {
  const before = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  setLimit('nofile', '256')
  const taken: number[] = []
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'))
  } catch (error) {
    if (systemCode(error) !== 'EMFILE') throw error
  }
  return () => {
    for (const fd of taken) closeSync(fd)
    setLimit('nofile', before ?? '')
  }
}

/** The soft one, which may be raised again. */
function setLimit(name: string, value: string): void {
  const { status, stderr } = spawnSync('prlimit', [`--pid=${process.pid}`, `--${name}=${value}:`])
  if (status !== 0) throw new Error(`prlimit: ${stderr.toString()}`)
}
