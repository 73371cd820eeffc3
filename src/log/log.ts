// Logs JSON lines to standard output, in the background, because a write per request costs more than the
// request; and the audit to a file of its own, where there is one.
import { closeSync, openSync } from 'node:fs'
import { pino, type Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { UsageError } from '../errors.ts'
import { printable, printableLines } from '../rules/printable.ts'
import { requestSentence } from './request-sentence.ts'
import { createSink } from './sink.ts'

export interface Log {
  logger: Logger
  /** Whole lines of another process of the gateway, as they are. */
  take: (lines: string) => void
  /** Writes what is buffered. */
  flush: () => void
  /** Flushes for the last time; what is logged later goes out at once. */
  close: () => void
}

const flushEvery = 500

/** The log by the config's `log` section. What is buffered is written twice a second, and at the end. */
export async function createLog({ level, pretty }: Config['log'], to: number = 1): Promise<Log> {
  if (pretty) return createPrettyLog(level, to)
  const sink = createSink(to, (lines) => {
    const facts = { level: 'warn', time: new Date().toISOString(), pid: process.pid, lines }
    return `${JSON.stringify({ ...facts, msg: 'lines were lost: nobody takes the log' })}\n`
  })
  const timer = setInterval(sink.flush, flushEvery)
  timer.unref()
  process.on('exit', sink.exit)
  return {
    logger: pino(options(level), sink),
    take: sink.write,
    flush: sink.flush,
    close: () => {
      clearInterval(timer)
      process.off('exit', sink.exit)
      sink.close()
    },
  }
}

/** For people, who do not need it as fast: what makes it so is loaded only here. */
async function createPrettyLog(level: string, to: number): Promise<Log> {
  const { PinoPretty } = await import('pino-pretty')
  const stream = PinoPretty({ destination: to, sync: true, ignore: 'pid,hostname' })
  stream.on('error', () => undefined)
  const logger = pino(options(level), { write: (line) => stream.write(forPeople(line)) })
  const take = (lines: string) => void stream.write(lines)
  return { logger, take, flush: () => undefined, close: () => undefined }
}

/** JSON escapes what steers a terminal; printed for people it would be that again. */
function forPeople(line: string): string {
  const facts = JSON.parse(line, (key, value: unknown) => {
    if (typeof value !== 'string') return value
    return key === 'stack' ? printableLines(value) : printable(value)
  }) as Record<string, unknown>
  const { level, time, msg, err } = facts
  const shown = msg === 'request' ? { level, time, msg: requestSentence(facts), err } : facts
  return `${JSON.stringify(shown)}\n`
}

function options(level: string) {
  return {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
}

export interface AuditLog {
  /** Writes one line, whatever the level of the log. */
  write: (facts: Readonly<Record<string, unknown>>) => void
  /**
   * Looks whether what `config` says can be opened, and at `swap` opens it, the same file anew too.
   * Throws UsageError.
   */
  prepare: (config: Config['audit']) => { swap: () => void }
  /** Writes what is under way and closes the file. */
  close: () => void
}

/** Bytes of audit lines that wait for a file that takes none; what is more is left out, and told. */
const auditBuffer = 16 * 2 ** 20

/** Throws UsageError where the file of `audit.file` cannot be opened. */
export function openAuditLog(config: Config['audit'], log: Logger): AuditLog {
  let target = openAuditTarget(config, log)
  return {
    write: (facts) => target.logger.info(facts, 'audit'),
    prepare(next) {
      if (next.file !== undefined) closeSync(openAuditFile(next.file))
      return {
        swap() {
          try {
            const opened = openAuditTarget(next, log)
            target.close()
            target = opened
          } catch (error) {
            log.error({ err: error }, 'cannot open the audit file: the one before stays in use')
          }
        },
      }
    },
    close: () => target.close(),
  }
}

function openAuditTarget({ file }: Config['audit'], log: Logger) {
  if (file === undefined) {
    return { logger: log.child({}, { level: 'info' }), close: () => undefined }
  }
  const destination = pino.destination({
    fd: openAuditFile(file),
    sync: false,
    maxLength: auditBuffer,
  })
  let quietUntil = 0
  const warn = (message: string, error?: unknown) => {
    if (Date.now() < quietUntil) return
    quietUntil = Date.now() + 60_000
    log.error({ file, err: error }, message)
  }
  destination.on('error', (error) => warn('cannot write the audit file', error))
  destination.on('drop', () => warn('the audit file takes no more: lines are lost'))
  return {
    logger: pino(options('info'), destination),
    close() {
      try {
        destination.flushSync()
      } catch (error) {
        warn('cannot write the end of the audit file', error)
      }
      destination.destroy()
    },
  }
}

function openAuditFile(file: string): number {
  try {
    return openSync(file, 'a', 0o600)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new UsageError([{ path: 'audit.file', message: `cannot open ${file}: ${code}` }])
  }
}
