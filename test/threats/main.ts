// `npm run test:threats`: runs the threat table and prints it row by row.
import { printRows } from '../rows.ts'

process.exitCode = printRows(import.meta.dirname)
