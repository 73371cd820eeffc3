// Whatever stands in the file: it is told what is wrong with it, and nothing breaks.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import type { Shape } from '../../src/config/decode.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigSchema } from '../../src/config/schema.ts'
import { UsageError } from '../../src/errors.ts'

const oddities: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    null,
    '',
    0,
    -1,
    true,
    [],
    {},
    [null],
    '5m',
    '1GiB',
    'https://a',
    '*',
    '__proto__',
  ),
  fc.string(),
  fc.jsonValue({ maxDepth: 2 }),
)

/** Documents of the right shape for the most part. */
function documentOf(shape: Shape): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 9, arbitrary: rightShape(shape) }, { weight: 1, arbitrary: oddities })
}

function rightShape(shape: Shape): fc.Arbitrary<unknown> {
  const { properties, patternProperties, items } = shape
  if (properties !== undefined) {
    const entries = Object.entries(properties).map(([key, child]) => [key, documentOf(child)])
    return fc.record(Object.fromEntries(entries) as Record<string, fc.Arbitrary<unknown>>, {
      requiredKeys: [],
    })
  }
  const [child] = Object.values(patternProperties ?? {})
  if (child !== undefined) {
    const names = fc.constantFrom('docker.io', 'index.docker.io', 'local:5000', 'Bad Name', '')
    return fc.dictionary(names, documentOf(child), { maxKeys: 3 })
  }
  if (items !== undefined) return fc.array(documentOf(items), { maxLength: 2 })
  if (shape.enum !== undefined) return fc.constantFrom(...shape.enum)
  if (shape.type === 'boolean') return fc.boolean()
  if (shape.type === 'integer') return fc.integer({ min: -1, max: 70_000 })
  return fc.constantFrom('5m', '1GiB', 'a', './a', '~/a', 'https://a', 'http://a:1/b', 'a.example')
}

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
