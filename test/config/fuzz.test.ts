// Whatever stands in the file: it is told what is wrong with it, and nothing breaks.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigSchema } from '../../src/config/schema.ts'
import { UsageError } from '../../src/errors.ts'
import { rightShape } from '../helpers/config-documents.ts'

t.test('every document loads or is refused with a path for each problem', async (t) => {
  const file = join(t.testdir({}), 'gateway.yaml')
  // Its own type is closed: the keywords of the config's leaves are not in it.
  const schema: TSchema = ConfigSchema
  await fc.assert(
    fc.asyncProperty(rightShape(schema), async (document) => {
      await writeFile(file, stringify(document))
      const outcome: unknown = await loadConfig(file).catch((error: unknown) => error)
      if (outcome instanceof Error && !(outcome instanceof UsageError)) throw outcome
      if (!(outcome instanceof UsageError)) return true
      return outcome.problems.length > 0 && outcome.problems.every(({ path }) => path !== '')
    }),
    { numRuns: 300 },
  )
})

t.test('every text is YAML that loads, or is refused', async (t) => {
  const folder = t.testdir({})
  const file = join(folder, 'gateway.yaml')
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => {
      await writeFile(file, text)
      const outcome: unknown = await loadConfig(file).catch((error: unknown) => error)
      return outcome instanceof UsageError
    }),
    { numRuns: 300 },
  )
})
