// A build reads the config by data and checks that were compiled, as the sources do by TypeBox: the same values, and
// the same problems.
import { globSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import type { TSchema } from 'typebox'
import { decode } from '../../src/config/decode.ts'
import * as sources from '../../src/config/load.ts'
import { ConfigSchema } from '../../src/config/schema.ts'
import { makeBuild } from '../helpers/build.ts'
import { rightShape } from '../helpers/config-documents.ts'

const root = join(import.meta.dirname, '../..')
const dist = makeBuild(t.testdir({}))
const built = (await import(join(dist, 'config/load.js'))) as typeof sources
const { decode: builtDecode } = (await import(join(dist, 'config/decode.js'))) as {
  decode: typeof decode
}
const { ConfigSchema: builtSchema } = (await import(join(dist, 'config/schema.js'))) as {
  ConfigSchema: TSchema
}

/** The config, as it is and as it is written; or what is wrong with it. */
async function outcomeOf({ loadConfig, effectiveConfig }: typeof sources, file: string) {
  try {
    const config = await loadConfig(file)
    return { config, written: effectiveConfig(config) }
  } catch (error) {
    return { problems: (error as { problems?: unknown }).problems, message: String(error) }
  }
}

t.test('examples', async (t) => {
  const examples = globSync('examples/*.yaml', { cwd: root }).map((file) => join(root, file))
  t.ok(examples.length > 0)
  for (const file of examples) {
    const outcome = await outcomeOf(built, file)
    t.ok(outcome.config, file)
    t.strictSame(outcome, await outcomeOf(sources, file))
  }
})

t.test('documents of any kind', (t) => {
  // Its own type is closed: the keywords of the config's leaves are not in it.
  const schema: TSchema = ConfigSchema
  let decoded = 0
  fc.assert(
    fc.property(rightShape(schema), (document) => {
      const outcome = builtDecode(builtSchema, document, '/folder')
      t.strictSame(outcome, decode(schema, document, '/folder'))
      decoded += JSON.stringify(outcome.value).split('1073741824').length - 1
    }),
    { numRuns: 300 },
  )
  t.ok(decoded > 30, `1GiB is read as 1073741824, ${decoded} times`)
  t.end()
})
