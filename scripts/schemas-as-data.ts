// Puts data in the place of the schemas of a build, and the checks that TypeBox compiles for them in the place of what
// asks TypeBox: a gateway that has been built loads none of it to read its config.
//   node scripts/schemas-as-data.ts DIST
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { TSchema } from 'typebox'
import { Build } from 'typebox/schema'
import type { Shape } from '../src/config/decode.ts'

/** Modules that export schemas and nothing else. `decode` goes through some, and asks about their leaves only. */
const modules = {
  'config/schema.js': leavesChecked,
  'config/shelf/schema.js': leavesChecked,
  'admin/api/requests.js': leavesChecked,
  'transfer/shelf/schema.js': (schema: Shape) => ({ check: checkOf(schema) }),
}

/** Sources of functions; many schemas share one. A schema names its own by the number. */
const checks: string[] = []

const dist = resolve(process.argv[2] ?? 'dist')
const written: Record<string, string> = {}
for (const [file, asData] of Object.entries(modules)) {
  const schemas = (await import(join(dist, file))) as Record<string, Shape>
  const constants = Object.entries(schemas).map(
    ([name, schema]) => `export const ${name} = ${JSON.stringify(asData(schema))}\n`,
  )
  written[file] = constants.join('')
}
written['config/values/accepts.js'] = `import { Guard } from 'typebox/guard'
const checks = [
${checks.join(',\n')}
]
export function accepts(schema, value) {
  return checks[schema.check](value)
}
`
// All are read before one of them is replaced, which another may be made of.
for (const [file, source] of Object.entries(written)) writeFileSync(join(dist, file), source)

function leavesChecked(shape: Shape): object {
  const { properties, patternProperties, items, anyOf } = shape
  if ((properties ?? patternProperties ?? items ?? anyOf) === undefined) {
    return { ...shape, check: checkOf(shape) }
  }
  return {
    ...shape,
    ...(properties && { properties: eachChecked(properties) }),
    ...(patternProperties && { patternProperties: eachChecked(patternProperties) }),
    ...(items && { items: leavesChecked(items) }),
    ...(anyOf && { anyOf: anyOf.map(leavesChecked) }),
  }
}

function eachChecked(shapes: Record<string, Shape>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(shapes).map(([key, shape]) => [key, leavesChecked(shape)] as const),
  )
}

/** The number of the function that says whether a value is what the schema says. */
function checkOf(schema: TSchema): number {
  const build = Build(schema)
  const { identifier, variables } = build.External()
  const external = variables.map((variable) => {
    if (variable instanceof RegExp) return String(variable)
    throw new TypeError(`cannot be written down: ${String(variable)} of ${JSON.stringify(schema)}`)
  })
  const source = `((${identifier}) => {
  ${build.Functions().join('\n  ')}
  return (value) => ${build.Entry()}
})([${external.join(', ')}])`
  if (!checks.includes(source)) checks.push(source)
  return checks.indexOf(source)
}
