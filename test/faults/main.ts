// `npm run test:faults`: runs the fault matrix and prints it row by row.
import { printRows } from '../rows.ts'

process.exitCode = printRows(import.meta.dirname)
