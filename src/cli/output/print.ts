// Prints what commands have to say. Names and messages in it may be foreign, so that every line goes
// through here: a printed line steers no terminal.
import { messageOf, systemCode } from '../../errors.ts'
import { printable, printableJson } from '../../rules/printable.ts'
import { programVersion } from '../../rules/version.ts'
import { formatTable, type Column } from './table.ts'

/** A line of the result. */
export function printLine(text: string): void {
  process.stdout.write(`${printable(text)}\n`)
}

/** A line beside the result: a problem, a warning. */
export function printNote(text: string): void {
  process.stderr.write(`${printable(text)}\n`)
}

/** `portcullis 1.2.3`. */
export function printVersion(): void {
  printLine(`portcullis ${programVersion()}`)
}

/** The result for programs. */
export function printJson(value: unknown): void {
  process.stdout.write(`${printableJson(value)}\n`)
}

export function printTable(columns: readonly Column[], rows: readonly (readonly string[])[]): void {
  const cells = rows.map((row) => row.map(printable))
  process.stdout.write(formatTable(columns, cells))
}

/**
 * A reader that goes away, as `| head -1` does, takes nothing from the work: it goes on to its end,
 * and what it still has to say is lost. So does the work where the disk below stdout is full, but then
 * it has failed.
 */
export function outliveReaders(): void {
  let isTold = false
  process.stderr.on('error', () => undefined)
  process.stdout.on('error', (error) => {
    if (systemCode(error) === 'EPIPE') return
    process.exitCode = 1
    if (!isTold) printNote(`what it says cannot be written: ${messageOf(error)}`)
    isTold = true
  })
}
