// Documents for the config's schema, of the right shape for the most part.
import * as fc from 'fast-check'
import type { Shape } from '../../src/config/decode.ts'

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

function documentOf(shape: Shape): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 9, arbitrary: rightShape(shape) }, { weight: 1, arbitrary: oddities })
}

/** Each value below the top may be something else. */
export function rightShape(shape: Shape): fc.Arbitrary<unknown> {
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
