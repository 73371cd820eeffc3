// What may be asked of the cache by the admin API: queries and bodies, checked as the config is.
import Type, { type TSchema } from 'typebox'
import { decode } from '../../config/decode.ts'
import { closed, duration, logLevel, rate, size, text } from '../../config/schema-parts.ts'
import { UsageError } from '../../errors.ts'
import { compileImageGlob, type ImageGlob } from '../../rules/glob.ts'

const mostRows = 1000

/** In a query everything is text. */
const count = Type.Codec(
  Type.Refine(
    Type.String({ mustBe: `a whole number from 1 to ${mostRows}` }),
    (given) => /^\d{1,4}$/.test(given) && Number(given) >= 1 && Number(given) <= mostRows,
  ),
)
  .Decode(Number)
  .Encode(String)

const glob = Type.Codec(
  Type.Refine(
    Type.String({ mustBe: 'a pattern of images such as registry.local/app/*:v1.*' }),
    (given) => compileImageGlob(given) !== undefined,
  ),
)
  .Decode((given): ImageGlob => compileImageGlob(given) ?? (() => false))
  .Encode(() => '')

export const PageQuery = Type.Object(
  {
    match: Type.Optional(glob),
    cursor: Type.Optional(text('`next` of the page before.')),
    limit: Type.Optional(count),
  },
  closed,
)

export const PruneBody = Type.Object(
  {
    olderThan: Type.Optional(duration({})),
    notPulledFor: Type.Optional(duration({})),
    match: Type.Optional(glob),
    untagged: Type.Optional(Type.Boolean()),
    to: Type.Optional(size({})),
    dryRun: Type.Boolean({ default: false }),
  },
  closed,
)

const image = text('One image.')

export const PinBody = Type.Object({ image, pinned: Type.Boolean({ default: true }) }, closed)
export const EvictBody = Type.Object({ image, force: Type.Boolean({ default: false }) }, closed)
export const VerifyBody = Type.Object({ rate: Type.Optional(rate({})) }, closed)

export const LogBody = Type.Object({ level: logLevel({}) }, closed)

/** For Fastify: decodes, or fails with a UsageError that has every problem. */
export function compileRequest({ schema }: { schema: unknown }) {
  return (given: unknown): { value: unknown } | { error: UsageError } => {
    const { value, findings } = decode(schema as TSchema, given, '/')
    if (findings.length === 0) return { value }
    const problems = findings.map(({ at, message }) => ({ path: at.join('.'), message }))
    return { error: new UsageError(problems) }
  }
}
