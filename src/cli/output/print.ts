// Prints what commands have to say. Names and messages in it may be foreign, so that every line goes
// through here: a printed line steers no terminal.
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
 * and what it still has to say is lost.
 */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}
