// Reads how many descriptors this process may have, and says how many files may stay open for it.
import { readFileSync } from 'node:fs'
import type { Logger } from 'pino'

/** For some hundred clients at once, each with a connection here, one to an upstream, and a file. */
const wanted = 1024
const mostOpenFiles = 128

/** Logs the limit, as a warning where it is low; returns how many idle files may stay open. */
export function reportDescriptorLimit(log: Logger): number {
  const limit = limitOf('/proc/self/limits')
  if (limit === undefined) return mostOpenFiles
  const openFiles = Math.max(1, Math.min(mostOpenFiles, Math.floor(limit / 8)))
  const facts = { limit, wanted, openFiles }
  if (limit >= wanted) log.info(facts, 'descriptors')
  else log.warn(facts, `descriptors: ${limit} are few; raise the limit (ulimit -n, LimitNOFILE)`)
  return openFiles
}

/** undefined: not on Linux, or there is none. */
function limitOf(file: string): number | undefined {
  try {
    const found = /^Max open files +(\d+)/m.exec(readFileSync(file, 'utf8'))?.[1]
    return found === undefined ? undefined : Number(found)
  } catch {
    return undefined
  }
}
