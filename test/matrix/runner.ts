// The `runner` service of docker-compose.yml: walks the matrix; `--json` is for scripts/matrix.
import { composePlaces } from './places.ts'
import { reportOf, writeReport } from './report.ts'
import { walk } from './walk.ts'

const cells = await walk(composePlaces)
process.exitCode = writeReport(reportOf('compose', cells), {
  json: process.argv.includes('--json'),
  colour: process.stdout.isTTY,
})
