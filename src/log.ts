// Logs JSON lines to standard output, buffered, because a write per request costs more than the request.
import { pino, type Logger } from 'pino'
import { PinoPretty } from 'pino-pretty'
import type { Config } from './config/schema.ts'
import { printable, printableLines } from './rules/printable.ts'

export interface Log {
  logger: Logger
  /** Writes what is buffered. */
  flush: () => void
  /** Flushes for the last time; what is logged later goes out at once. */
  close: () => void
}

/** Bytes gathered for one write: a synchronous line per request costs 70 % more CPU. */
const bufferSize = 8 * 1024
const flushEvery = 500

/** The log by the config's `log` section. What is buffered is written twice a second, and at the end. */
export function createLog({ level, pretty }: Config['log'], to: number = 1): Log {
  if (pretty) {
    const stream = PinoPretty({ destination: to, sync: true, ignore: 'pid,hostname' })
    stream.on('error', () => undefined)
    const logger = pino(options(level), { write: (line) => stream.write(withoutControls(line)) })
    return { logger, flush: () => undefined, close: () => undefined }
  }
  const destination = pino.destination({ dest: to, sync: false, minLength: bufferSize })
  // A reader that went away, as `| head` does, is no reason to stop serving.
  destination.on('error', () => undefined)
  const logger = pino(options(level), destination)
  const timer = setInterval(() => destination.flush(), flushEvery)
  timer.unref()
  return {
    logger,
    flush: () => destination.flush(),
    close: () => {
      clearInterval(timer)
      destination.flushSync()
    },
  }
}

/** JSON escapes what steers a terminal; printed for people it would be that again. */
function withoutControls(line: string): string {
  const plain = JSON.stringify(
    JSON.parse(line, (key, value: unknown) => {
      if (typeof value !== 'string') return value
      return key === 'stack' ? printableLines(value) : printable(value)
    }),
  )
  return `${plain}\n`
}

function options(level: string) {
  return {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
}
