// What came of the matrix: as tables for a terminal, as JSON, as JUnit XML.
import { writeFileSync } from 'node:fs'
import { styleText } from 'node:util'
import { formatTable } from '../../src/cli/output/table.ts'
import type { Cell } from './walk.ts'

export interface Report {
  form: 'native' | 'compose'
  passed: number
  failed: number
  cells: readonly Cell[]
}

export function reportOf(form: Report['form'], cells: readonly Cell[]): Report {
  const passed = cells.filter(({ ok }) => ok).length
  return { form, passed, failed: cells.length - passed, cells }
}

/** Writes the report to standard output and, as JUnit XML, to a file: the exit code. */
export function writeReport(
  report: Report,
  options: { json: boolean; colour: boolean; junit?: string | undefined },
): number {
  const { json, colour, junit } = options
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : tablesOf(report, colour))
  if (junit !== undefined) writeFileSync(junit, junitOf(report))
  return report.failed === 0 && report.passed > 0 ? 0 : 1
}

const matrices = [
  { matrix: 'upstream', title: 'gateway mode' },
  { matrix: 'client', title: 'client certificate' },
  { matrix: 'path', title: 'no way from, to' },
] as const

/** A table for each matrix, then a line for each cell that is not as it must be. */
export function tablesOf({ cells, passed, failed }: Report, colour: boolean): string {
  const paint = (format: 'green' | 'red', text: string) =>
    colour ? styleText(format, text, { validateStream: false }) : text
  const tables = matrices.map(({ matrix, title }) => {
    const own = cells.filter((cell) => cell.matrix === matrix)
    if (own.length === 0) return ''
    const columns = [...new Set(own.map(({ column }) => column))]
    const rows = [...new Set(own.map(({ row }) => row))].map((row) => [
      row,
      ...columns.map((column) => {
        const cell = own.find((each) => each.row === row && each.column === column)
        if (cell === undefined) return ''
        return cell.ok ? paint('green', `✓ ${brief(cell.got)}`) : paint('red', '✗ see below')
      }),
    ])
    return `${formatTable(
      [title, ...columns].map((column) => ({ title: column })),
      rows,
    )}\n`
  })
  const failures = cells
    .filter(({ ok }) => !ok)
    .map((cell) => `${paint('red', `✗ ${nameOf(cell)}`)}: ${complaintOf(cell)}\n`)
  return `${tables.join('')}${failures.join('')}${passed} cells as expected, ${failed} not\n`
}

/** One test suite for each matrix, one test case for each cell. */
export function junitOf({ form, cells, failed }: Report): string {
  const suites = matrices.map(({ matrix }) => {
    const own = cells.filter((cell) => cell.matrix === matrix)
    if (own.length === 0) return ''
    const failures = own.filter(({ ok }) => !ok).length
    const cases = own.map((cell) => caseOf(cell, form))
    return `  <testsuite name="${matrix}" tests="${own.length}" failures="${failures}">\n${cases.join('')}  </testsuite>\n`
  })
  const counts = `tests="${cells.length}" failures="${failed}"`
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="tls-matrix" ${counts}>\n${suites.join('')}</testsuites>\n`
}

function caseOf(cell: Cell, form: Report['form']): string {
  const open = `    <testcase classname="matrix.${form}.${cell.matrix}" name="${escape(nameOf(cell))}" time="${cell.seconds.toFixed(3)}"`
  if (cell.ok) return `${open}/>\n`
  return `${open}>\n      <failure message="${escape(complaintOf(cell))}"/>\n    </testcase>\n`
}

function nameOf({ row, column }: Cell): string {
  return `${row} × ${column}`
}

function complaintOf({ expected, got }: Cell): string {
  return `expected ${expected}, got ${got}`
}

/** The two longest words would make the table wider than a terminal. */
function brief(outcome: string): string {
  return outcome.replace('client_certificate_', 'certificate ')
}

function escape(text: string): string {
  // eslint-disable-next-line no-control-regex
  const printable = text.replaceAll(/[\u0000-\u001f]/g, ' ')
  return printable
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
