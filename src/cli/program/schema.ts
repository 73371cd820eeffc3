// `portcullis schema`: the config as JSON Schema, for editors that complete and check YAML.
import type { TSchema } from 'typebox'
import type { Shape } from '../../config/decode.ts'
import { ConfigSchema } from '../../config/schema.ts'
import { defineCommand } from '../command.ts'

type JsonSchema = Readonly<Record<string, unknown>>

export const command = defineCommand({
  usage: 'schema',
  summary: 'Prints the JSON Schema of the config, for editors.',
  options: {},
  takesArguments: false,

  async run() {
    process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
    return 0
  },
})

/**
 * Draft 2020-12, without our own keywords. It takes every config that the gateway takes; what the
 * gateway finds beyond it, such as keys that need each other, `portcullis check` tells.
 */
export function configJsonSchema(): JsonSchema {
  // TypeBox's own type is closed: its keywords of ours are not in it.
  const schema: TSchema = ConfigSchema
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Portcullis config',
    ...convert(schema),
  }
}

const kept: ReadonlySet<string> = new Set([
  'description',
  'default',
  'enum',
  'minimum',
  'maximum',
  'minLength',
  'pattern',
])

function convert(shape: Shape): JsonSchema {
  const leaf = Object.fromEntries(Object.entries(shape).filter(([key]) => kept.has(key)))
  const { description, default: byDefault } = leaf
  const about = {
    ...(description === undefined ? {} : { description }),
    ...(byDefault === undefined ? {} : { default: byDefault }),
  }
  if (shape.anyOf !== undefined) return { ...about, anyOf: shape.anyOf.map(convert) }
  if (shape.properties !== undefined) return { ...about, ...objectOf(shape) }
  if (shape.patternProperties !== undefined) {
    const [item = {}] = Object.values(shape.patternProperties)
    const { keyPattern = '' } = shape
    return { ...about, ...sectionOf({ patternProperties: { [keyPattern]: convert(item) } }) }
  }
  if (shape.items !== undefined) {
    const list = { type: 'array', items: convert(shape.items) }
    if (shape.orOne === true) return { ...about, anyOf: [convert(shape.items), list] }
    if (shape.orFile === true) return { ...about, anyOf: [{ type: 'string' }, list] }
    return { ...about, ...list }
  }
  return { ...(shape.type === undefined ? {} : { type: shape.type }), ...leaf }
}

function objectOf({ properties = {}, required = [] }: Shape): JsonSchema {
  const missing = required.filter((key) => properties[key]?.default === undefined)
  return sectionOf({
    properties: Object.fromEntries(
      Object.entries(properties).map(([key, child]) => [key, convert(child)]),
    ),
    ...(missing.length === 0 ? {} : { required: missing }),
  })
}

/** A section whose keys are all commented out is null in YAML. */
function sectionOf(rest: JsonSchema): JsonSchema {
  return { type: ['object', 'null'], ...rest, additionalProperties: false }
}
